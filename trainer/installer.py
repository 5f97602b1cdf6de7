"""The installer of Python packages, `uv`, which trusts the certificates that the system trusts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from shared.errors import InvalidInput

#: A first installation downloads several hundred megabytes.
INSTALL_SECONDS = 900.0
#: Variables that name a bundle of certificate authorities. uv reads only the first.
BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: The system's bundle on Debian and Ubuntu, which uv does not read by default.
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
#: Length at which an installer's error is cut; its beginning contains the reason.
LONGEST_REASON = 400
#: Parts of uv's errors about a package index that does not answer.
UNREACHABLE = ("failed to fetch", "error sending request", "dns error", "connection refused")


class IndexUnreachable(InvalidInput):
    """The package index does not answer, so nothing can be installed."""


def uv(*arguments: str) -> None:
    """Run a command of `uv`.

    Raises:
        IndexUnreachable: The package index does not answer.
        InvalidInput: The command failed; the message contains the reason.
    """
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.defpath])
    program = shutil.which("uv", path=beside)
    if program is None:
        raise InvalidInput("Expected the installer `uv` beside this Python. Received: none")
    try:
        subprocess.run(
            [program, "--quiet", *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            env=os.environ | _trusted_bundle(),
        )
    except subprocess.CalledProcessError as error:
        output = " ".join(error.stderr.split())
        is_unreachable = any(text in output.lower() for text in UNREACHABLE)
        kind = IndexUnreachable if is_unreachable else InvalidInput
        raise kind(output[:LONGEST_REASON] or str(error)) from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise InvalidInput(str(error)) from error


def _trusted_bundle() -> dict[str, str]:
    """Return the variable with which uv trusts the bundle that the user names, else the system's.

    The system's bundle may hold a private authority that signs the package index.
    """
    named = filter(None, map(os.environ.get, BUNDLE_VARIABLES))
    bundle = Path(next(named, SYSTEM_BUNDLE))
    if bundle.is_dir():
        return {"SSL_CERT_DIR": str(bundle)}
    return {"SSL_CERT_FILE": str(bundle)} if bundle.exists() else {}
