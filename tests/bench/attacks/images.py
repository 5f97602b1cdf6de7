"""Small images that cost much to decode."""

import io
import struct
import time

import httpx
from PIL import Image

from tests.bench.attacks.figure import Figure
from tests.bench.attacks.honest import photo
from tests.bench.attacks.target import Target

ATTACKER = "127.0.0.40"
#: Number and size of the images with thousands of scans, and the pixels of a side.
MPO_IMAGES, MPO_BYTES, MPO_SIDE, MPO_SCANS = 18, 286_000, 3000, 4_000
#: Another user's photo is waited for this long, and counts as served within the limit.
PHOTO_SECONDS, PHOTO_LIMIT = 60, 20
BMP_SECONDS, BMP_CPU_LIMIT, BMP_MEMORY_LIMIT = 60, 2.0, 256.0
WORKER = "image-interactive"
END_OF_IMAGE, START_OF_SCAN = b"\xff\xd9", b"\xff\xda"


def attacks(target: Target) -> list[Figure]:
    """Send images that a decoder works on for long, then the photo of another user."""
    with (
        target.account("decoder", address=ATTACKER) as attacker,
        target.account("photographer") as other,
    ):
        _classify(other, photo(), PHOTO_SECONDS)
        return [*_run_length(target, attacker), _many_scans(attacker, other)]


def _run_length(target: Target, attacker: httpx.Client) -> list[Figure]:
    content = run_length_bmp()
    memory, spent = target.megabytes(WORKER), _cpu(target)
    peak = memory
    job = _submit(attacker, content)
    deadline = time.monotonic() + BMP_SECONDS
    while time.monotonic() < deadline and attacker.get(job).json()["status"] == "queued":
        peak = max(peak, target.megabytes(WORKER))
        time.sleep(0.05)
    code = (attacker.get(job).json().get("error") or {}).get("code", "none")
    what = f"one run-length BMP of {len(content)} bytes"
    test = "test_image_that_exceeds_a_limit_is_unreadable"
    return [
        Figure(
            "4",
            f"CPU time of the image worker for {what}",
            _cpu(target) - spent,
            "s",
            BMP_CPU_LIMIT,
            test,
            f"error: {code}",
        ),
        Figure(
            "4",
            f"growth of the image worker by {what}",
            peak - memory,
            "MB",
            BMP_MEMORY_LIMIT,
            test,
        ),
    ]


def _cpu(target: Target) -> float:
    """Return the CPU seconds of the image worker, its ended children included."""
    process = target.process(WORKER)
    family = [process, *process.children(recursive=True)]
    times = [one.cpu_times() for one in family]
    ended = times[0].children_user + times[0].children_system
    return float(sum(one.user + one.system for one in times) + ended)


def _many_scans(attacker: httpx.Client, other: httpx.Client) -> Figure:
    for number in range(MPO_IMAGES):
        # Bytes after the end make the file unique.
        _submit(attacker, many_scans_mpo() + bytes([number]))
    seconds = _classify(other, photo(), PHOTO_SECONDS)
    return Figure(
        "4",
        f"answer to another user's photo behind {MPO_IMAGES} MPO files of "
        f"{MPO_BYTES // 1000} kB with {MPO_SCANS} scans",
        seconds,
        "s",
        PHOTO_LIMIT,
        "test_jpeg_that_asks_for_thousands_of_passes_is_refused_before_decoding",
        f"waited for at most {PHOTO_SECONDS} s",
    )


def _submit(client: httpx.Client, content: bytes) -> str:
    files = {"image": ("p.jpg", content, "image/jpeg")}
    job = client.post("/v1/jobs", data={"model": "image"}, files=files)
    job.raise_for_status()
    return f"/v1/jobs/{job.json()['id']}"


def _classify(client: httpx.Client, content: bytes, seconds: float) -> float:
    """Return the seconds until an image is answered, or `seconds`."""
    started = time.monotonic()
    job = _submit(client, content)
    while (passed := time.monotonic() - started) < seconds:
        wait = min(5.0, seconds - passed)
        if client.get(job, params={"wait": wait}).json()["status"] != "queued":
            return time.monotonic() - started
    return seconds


def many_scans_mpo() -> bytes:
    """Return a progressive JPEG that announces a second image and repeats its last scan."""
    content = io.BytesIO()
    Image.new("RGB", (MPO_SIDE, MPO_SIDE), "gray").save(
        content, "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))], progressive=True
    )
    first = content.getvalue()
    end = first.index(END_OF_IMAGE)
    scan = first[first.rindex(START_OF_SCAN, 0, end) : end]
    file = first[:end] + scan * MPO_SCANS + first[end:]
    return file + bytes(max(0, MPO_BYTES - len(file)))


def run_length_bmp(width: int = 50_000_000) -> bytes:
    """Return a BMP of one line whose end comes after one pixel; the rest is padded byte by byte."""
    body = b"\x01\x00\x00\x00"
    palette = bytes(1024)
    header = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, len(body), 0, 0, 256, 256)
    offset = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + header + palette + body
