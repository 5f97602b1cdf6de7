"""Feed damaged images to the decoders, and print what they do.

    python -m tests.bench.limits.mutated_images --count 10000

Files of each format are damaged by flipped bytes, cuts and splices. The decoders must use or refuse
each: any exception other than the product's own is counted, and so are images that were ended at a
limit or ended their process. Prints the longest CPU time of a file, in steps of 10 ms.
"""

import io
import random
from dataclasses import dataclass, field

import psutil
from PIL import Image

from shared.errors import ImageUnreadable
from shared.inference.preparation.decoders import Decoders, ordinary_limits
from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.bench.limits.mutated_tables import mutated
from tests.support.heic import HEIC

SIZE = 32
SHAPE = (60, 40)
#: Words by which a reason says that an image was ended at a limit.
LIMIT = "decodes within"
TURNED = 6


@dataclass
class Outcome:
    """Results of the files of one format."""

    used: int = 0
    refused: int = 0
    seconds: float = 0.0
    limits: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Print a table of all formats; return 1 if there were other exceptions."""
    parser = plain_parser(__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="damaged files of each format")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    decoders = Decoders(ordinary_limits(1))
    print("format           used  refused  at a limit  other exceptions  longest CPU s")
    failed = False
    for name, content in formats().items():
        generator = random.Random(f"{options.seed} {name}")
        found = outcome(decoders, content, options.count, generator)
        print(
            f"{name:14} {found.used:6} {found.refused:8} {len(found.limits):11} "
            f"{len(found.faults):17} {found.seconds:14.2f}",
            flush=True,
        )
        for reason in [*found.limits[:3], *found.faults[:3]]:
            print(f"  {reason}")
        failed |= bool(found.faults)
    decoders.close()
    return int(failed)


def outcome(decoders: Decoders, content: bytes, count: int, generator: random.Random) -> Outcome:
    """Decode `count` damaged copies of a file."""
    found = Outcome()
    decoders.prepare(content, SIZE)
    decoder = _decoder()
    for number in range(count):
        damaged = mutated(content, generator)
        before = _cpu_seconds(decoder)
        try:
            decoders.prepare(damaged, SIZE)
            found.used += 1
        except ImageUnreadable as error:
            found.refused += 1
            if LIMIT in error.detail:
                found.limits.append(f"file {number}: {error.detail}")
        except Exception as error:
            found.faults.append(f"file {number}: {type(error).__name__}: {error}")
        found.seconds = max(found.seconds, _cpu_seconds(decoder) - before)
        if not decoder.is_running() or decoder.status() == psutil.STATUS_ZOMBIE:
            decoders.prepare(content, SIZE)
            decoder = _decoder()
    return found


def formats() -> dict[str, bytes]:
    """Return a whole file of each format."""
    shades = random.Random(0).randbytes(10 * 8 * 3)
    image = Image.frombytes("RGB", (10, 8), shades).resize(SHAPE)
    exif = Image.Exif()
    exif.update({0x0112: TURNED, 0x010F: "Camera", 0x011A: 1.5})
    palette, grey = image.quantize(32), image.convert("L")
    frames = {"save_all": True, "append_images": [grey.convert("RGB")]}
    return {
        "jpeg": _saved(image, "JPEG", exif=exif),
        "progressive": _saved(image, "JPEG", progressive=True),
        "cmyk": _saved(image.convert("CMYK"), "JPEG"),
        "mpo": _saved(image, "MPO", **frames),
        "png": _saved(image, "PNG", exif=exif),
        "png-palette": _saved(palette, "PNG", transparency=3),
        "png-16": _saved(grey.convert("I").convert("I;16"), "PNG"),
        "webp": _saved(image, "WEBP", exif=exif),
        "webp-lossless": _saved(image, "WEBP", lossless=True),
        "webp-frames": _saved(image, "WEBP", **frames),
        "gif": _saved(image, "GIF", **frames),
        "bmp": _saved(image, "BMP"),
        "bmp-palette": _saved(palette, "BMP"),
        "tiff": _saved(image, "TIFF", exif=exif),
        "tiff-lzw": _saved(image, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": _saved(image, "TIFF", compression="jpeg"),
        "tiff-float": _saved(grey.convert("F"), "TIFF"),
        "avif": _saved(image, "AVIF"),
        "heic": HEIC,
        "ico": _saved(image.convert("RGBA"), "ICO"),
    }


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _decoder() -> psutil.Process:
    return psutil.Process().children()[-1]


def _cpu_seconds(decoder: psutil.Process) -> float:
    """Return the CPU time of a process, or 0 once it has ended."""
    try:
        times = decoder.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


if __name__ == "__main__":
    run_command(main)
