"""Decoder processes: images that exceed a limit fail, and nothing else does."""

import io
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import psutil
import pytest
from PIL import Image

from shared.errors import ImageUnreadable, Unavailable
from shared.inference.preparation import decoder_process
from shared.inference.preparation.decoder import cpu_limit
from shared.inference.preparation.decoders import (
    LARGE_LIMITS,
    Decoders,
    ordinary_limits,
    shared_decoders,
)
from shared.inference.preparation.image import FORMATS, decode, thumbnail
from shared.inference.preparation.permits import Permits
from tests.support.expensive_images import long_line_bmp, repeated_scans
from tests.support.heic import HEIC
from tests.support.servers import until

SIZE = 299
ORDINARY = ordinary_limits(1)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def png_header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


BOMB = zlib.compress(bytes(200_000_000), 9)

REFUSED = {
    "a line of a BMP that is filled byte by byte": (long_line_bmp(), "its CPU time"),
    "an MPO of 5,000 scans": (repeated_scans(2_000, 5_000), "100 scans"),
    "a PNG of 60,000 x 60,000": (
        png(png_header(60_000, 60_000), (b"IDAT", b""), (b"IEND", b"")),
        "exceeds limit",
    ),
    "a PNG whose text unpacks to 200 MB": (
        png(png_header(8, 8), (b"zTXt", b"a\0\0" + BOMB), (b"IDAT", b""), (b"IEND", b"")),
        "broken",
    ),
    "a PNG whose colour profile unpacks to 200 MB": (
        png(png_header(8, 8), (b"iCCP", b"a\0\0" + BOMB), (b"IDAT", b""), (b"IEND", b"")),
        "broken",
    ),
    "a TIFF that promises 4 GB in one strip": (
        b"II*\0\x08\0\0\0\x06\0"
        + b"".join(
            struct.pack("<HHII", tag, kind, 1, value)
            for tag, kind, value in (
                (256, 4, 7000),
                (257, 4, 7000),
                (259, 3, 5),
                (262, 3, 1),
                (273, 4, 8),
                (279, 4, 4_000_000_000),
            )
        )
        + bytes(4),
        "broken",
    ),
    "a WebP without half of its data": (encoded(noise(200, 200), "WEBP")[:9_000], "broken"),
    "a GIF without its data": (encoded(noise(50, 50), "GIF")[:1500], "broken"),
}


@pytest.fixture(autouse=True)
def _no_decoders_of_other_tests() -> None:
    shared_decoders().close()


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    pool = Decoders(ORDINARY)
    yield pool
    pool.close()


def decoder_processes() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if any("preparation.decoder" in part for part in child.cmdline())
    ]


def require_photo_is_decoded(decoders: Decoders) -> None:
    content = encoded(noise(500, 400), "JPEG")
    expected = np.frombuffer(decode(content, SIZE), np.uint8).reshape(SIZE, SIZE, 3)
    np.testing.assert_array_equal(decoders.prepare(content, SIZE), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_image_that_exceeds_a_limit_is_unreadable(decoders: Decoders, name: str) -> None:
    content, reason = REFUSED[name]
    with pytest.raises(ImageUnreadable, match=reason):
        decoders.prepare(content, SIZE)
    require_photo_is_decoded(decoders)


@pytest.mark.parametrize("form", sorted({*FORMATS, "MPO"} - {"HEIF"}))
def test_every_format_gives_the_pixels_of_a_decoder_without_limits(
    decoders: Decoders, form: str
) -> None:
    content = encoded(noise(640, 480), form)
    expected = np.frombuffer(decode(content, SIZE), np.uint8).reshape(SIZE, SIZE, 3)
    np.testing.assert_array_equal(decoders.prepare(content, SIZE), expected)


def test_thumbnails_are_made_within_the_same_limits(decoders: Decoders) -> None:
    content = encoded(noise(640, 480), "JPEG")
    with decoders.visit("") as visit:
        assert visit.thumbnail(content, 96) == thumbnail(content, 96)
        for bad, reason in REFUSED.values():
            with pytest.raises(ImageUnreadable, match=reason):
                visit.thumbnail(bad, 96)
        large = encoded(noise(7_000, 1_200), "PNG")
        assert visit.thumbnail(large, 96) == thumbnail(large, 96)
    require_photo_is_decoded(decoders)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_large_image_is_decoded(decoders: Decoders, form: str) -> None:
    image = Image.new("RGBA" if form != "JPEG" else "RGB", (7_000, 7_000), "red")
    # A blank image is a few hundred bytes, of which no photo consists.
    image.paste(noise(1_000, 1_000), (0, 0))
    pixels = decoders.prepare(encoded(image, form, lossless=True, method=0), SIZE)
    assert abs(pixels[-1, -1].astype(int) - [255, 0, 0]).max() <= 2


def test_heic_gives_the_pixels_of_a_decoder_without_limits(decoders: Decoders) -> None:
    assert decoders.prepare(HEIC, SIZE).tobytes() == decode(HEIC, SIZE)


def test_animation_counts_as_its_first_frame(decoders: Decoders) -> None:
    frames = [Image.new("RGB", (400, 400), (number % 256,) * 3) for number in range(300)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decoders.prepare(content, SIZE).max() == 0


def test_image_that_needs_more_memory_than_a_decoder_has_is_unreadable() -> None:
    small = Decoders(replace(ORDINARY, memory_bytes=64 * 2**20))
    with pytest.raises(ImageUnreadable, match="64 MiB of memory"):
        small.prepare(encoded(noise(3_000, 2_500), "BMP"), SIZE)
    require_photo_is_decoded(small)
    small.close()


def test_file_that_does_not_fit_into_memory_is_unreadable() -> None:
    small = Decoders(replace(ORDINARY, memory_bytes=64 * 2**20))
    with pytest.raises(ImageUnreadable, match="64 MiB of memory"):
        small.prepare(bytes(80 * 2**20), SIZE)
    require_photo_is_decoded(small)
    small.close()


def test_decoder_that_stands_still_is_replaced() -> None:
    decoders = Decoders(replace(ORDINARY, wall_seconds=0.5))
    require_photo_is_decoded(decoders)
    (process,) = decoder_processes()
    process.suspend()
    with pytest.raises(ImageUnreadable, match="within 0 s"):
        decoders.prepare(encoded(noise(50, 50), "JPEG"), SIZE)
    assert not process.is_running()
    decoders.close()


def test_decoder_that_the_kernel_kills_is_replaced_and_the_image_decoded(
    decoders: Decoders,
) -> None:
    require_photo_is_decoded(decoders)
    (process,) = decoder_processes()
    process.kill()
    require_photo_is_decoded(decoders)


def test_decoder_that_crashes_fails_the_image_only(decoders: Decoders) -> None:
    require_photo_is_decoded(decoders)
    (process,) = decoder_processes()
    process.send_signal(signal.SIGSEGV)
    with pytest.raises(ImageUnreadable, match="a decoder that survives"):
        decoders.prepare(encoded(noise(50, 50), "JPEG"), SIZE)
    require_photo_is_decoded(decoders)


NONSENSE = """
from multiprocessing.connection import Connection
connection = Connection(0)
connection.send_bytes(b"R")
while True:
    connection.recv_bytes()
    connection.recv_bytes()
    connection.send_bytes({answer})
"""


@pytest.mark.parametrize("answer", [b"P123", b"?", b"", b"P" * 20_000_000])
def test_decoder_that_answers_nonsense_is_replaced(
    monkeypatch: pytest.MonkeyPatch, decoders: Decoders, answer: bytes
) -> None:
    def start(_: decoder_process.Limits, theirs: socket.socket) -> subprocess.Popen[bytes]:
        script = NONSENSE.format(answer=f"b'{answer[:1].decode()}' + bytes({len(answer[1:])})")
        return subprocess.Popen([sys.executable, "-c", script], stdin=theirs.fileno())

    with monkeypatch.context() as patched:
        patched.setattr(decoder_process, "_start", start)
        patched.setattr(decoder_process, "END_SECONDS", 0.1)
        with pytest.raises(ImageUnreadable, match="a decoder that survives"):
            decoders.prepare(encoded(noise(50, 50), "JPEG"), SIZE)
    require_photo_is_decoded(decoders)


def test_more_images_than_decoders_are_decoded(decoders: Decoders) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: require_photo_is_decoded(decoders), range(40)))
    assert len(decoder_processes()) == 1


def test_slow_image_of_one_user_does_not_delay_another(decoders: Decoders) -> None:
    """One decoder, six slow images of one user: the other user's photo is second in turn."""
    done: list[str] = []
    slow = long_line_bmp(7_900_000) + bytes(4_000)

    def decode_for(user: str, content: bytes) -> None:
        with suppress(ImageUnreadable):
            decoders.prepare(content, SIZE, user)
        done.append(user)

    with ThreadPoolExecutor(16) as threads:
        for _ in range(6):
            threads.submit(decode_for, "attacker", slow)
        turns = decoders._ordinary._turns
        until(lambda: turns.waiting >= 5, 30, "the slow images wait")
        threads.submit(decode_for, "customer", encoded(noise(50, 50), "JPEG"))
    assert done.index("customer") <= 2


def test_large_images_of_one_user_leave_threads_to_others() -> None:
    """Send four messages with large images: two wait for the decoder, the others return."""
    decoders = Decoders(ORDINARY, permits=Permits(2, seconds=0.1))
    large = encoded(noise(3_000, 3_000), "BMP")
    photo = encoded(noise(50, 50), "JPEG")
    with decoders.visit("attacker") as one, decoders.visit("attacker") as other:
        for visit in (one, other, one):
            visit.prepare(large, SIZE)
        with decoders.visit("attacker") as third:
            third.prepare(photo, SIZE)
            with pytest.raises(Unavailable, match="2 messages of the user have large images"):
                third.prepare(large, SIZE)
        with decoders.visit("customer") as customer:
            customer.prepare(large, SIZE)
    with decoders.visit("attacker") as later:
        later.prepare(large, SIZE)
    decoders.close()


def test_decoder_gets_no_variable_of_the_worker(
    monkeypatch: pytest.MonkeyPatch, decoders: Decoders
) -> None:
    monkeypatch.setenv("RAYON_BROKER_URL", "redis://:secret@localhost")
    require_photo_is_decoded(decoders)
    (process,) = decoder_processes()
    assert set(process.environ()) <= {"PYTHONPATH", "PYTHONSAFEPATH", "LC_CTYPE", "LANG", "LC_ALL"}


OWNER = """
import sys, time
from shared.inference.preparation.decoders import prepare
prepare(sys.stdin.buffer.read(), 8)
print(flush=True)
time.sleep(600)
"""


def test_decoder_ends_when_its_owner_is_killed() -> None:
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdin
        assert owner.stdout
        owner.stdin.write(encoded(noise(50, 50), "JPEG"))
        owner.stdin.close()
        assert owner.stdout.readline() == b"\n"
        (process,) = psutil.Process(owner.pid).children()
        owner.kill()
    until(lambda: not process.is_running(), 30, "the decoder ends")


def test_decoder_that_does_not_start_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, decoders: Decoders
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unavailable, match="No image decoder starts"):
        decoders.prepare(encoded(noise(50, 50), "JPEG"), SIZE)
    monkeypatch.undo()
    require_photo_is_decoded(decoders)


def test_small_file_gets_little_time_however_large_its_image() -> None:
    assert cpu_limit(50_000_000, 1_084) < 1.2
    assert cpu_limit(250_000, 100_000) < 1.1
    assert cpu_limit(LARGE_LIMITS.pixels, 10_000_000) == 8.5
