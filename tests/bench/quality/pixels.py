"""Compare the preparation of images with that of an earlier commit, on all images of a folder.

    python -m tests.bench.quality.pixels --data ../shared/data/rakuten --before e3179e9

Prints how many images have other pixels, are only used now or only before, and the CPU time as a
ratio. A release that was trained with the earlier preparation may be served with this one, and its
stored features kept, as long as no image differs.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from shared.errors import ImageUnreadable
from shared.inference.preparation import image
from tests.bench.commands import run_command
from tests.bench.quality.earlier import module_of

MODULE = "shared/inference/preparation/image.py"
SUFFIXES = {".jpg", ".png", ".webp", ".gif", ".bmp", ".tif"}
SIZE = 299

Decode = Callable[[bytes], bytes]


def main() -> int:
    """Print the comparison; return 1 if pixels differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/rakuten"))
    parser.add_argument("--before", default="e3179e9", help="commit of the earlier preparation")
    parser.add_argument("--every", type=int, default=1, help="compare one image of so many")
    options = parser.parse_args()
    paths = sorted(path for path in options.data.rglob("*") if path.suffix.lower() in SUFFIXES)
    ways = {"before": _earlier(options.before), "now": lambda content: image.decode(content, SIZE)}
    seconds = dict.fromkeys(ways, 0.0)
    outcomes: Counter[str] = Counter()
    for path in paths[:: options.every]:
        content = path.read_bytes()
        pixels = {name: _decoded(decode, content, name, seconds) for name, decode in ways.items()}
        outcomes[_outcome(pixels["before"], pixels["now"])] += 1
    print(f"{outcomes.total()} images: {', '.join(f'{n} {what}' for what, n in outcomes.items())}")
    print(f"CPU time {seconds['now'] / seconds['before']:.2f} of before")
    return int(outcomes["differ"] > 0)


def _outcome(before: bytes | None, now: bytes | None) -> str:
    if before == now:
        return "are equal" if now else "are refused, as before"
    if before is None or now is None:
        return "are used only now" if now else "were used only before"
    return "differ"


def _decoded(decode: Decode, content: bytes, name: str, seconds: dict[str, float]) -> bytes | None:
    started = time.process_time()
    try:
        return decode(content)
    except ImageUnreadable:
        return None
    finally:
        seconds[name] += time.process_time() - started


def _earlier(commit: str) -> Decode:
    """Return the preparation of a commit, by the name that it had then."""
    module = module_of(commit, MODULE)
    if hasattr(module, "decode"):
        return lambda content: bytes(module.decode(content, SIZE))
    return lambda content: bytes(module.prepare(content, SIZE).tobytes())


if __name__ == "__main__":
    run_command(main)
