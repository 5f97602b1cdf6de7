"""The `Prefer` header of a request.

Source: RFC 7240, "Prefer Header for HTTP".
"""

import re

#: A longer header is ignored: a preference is no requirement, and parsing takes time.
LONGEST_HEADER = 255
#: Preferences are separated by commas outside of quoted texts.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')
_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,6}(?:\.\d{1,6})?)"?\s*(?:;.*)?', re.IGNORECASE)


def preferred_wait(header: str | None, longest: float) -> float:
    """Return the seconds that a client prefers to wait for the answer.

    Args:
        header: Value of the `Prefer` header. Other and malformed preferences are ignored.
        longest: Maximum of the returned seconds.

    Returns:
        0 if the client does not wait. Of several values the first applies.
    """
    if header is None or len(header) > LONGEST_HEADER:
        return 0.0
    for preference in _PREFERENCE.findall(header):
        if found := _WAIT.fullmatch(preference):
            return min(float(found[1]), longest)
    return 0.0
