import io

import numpy as np
import pytest
from PIL import Image

from shared.errors import ImageUnreadable
from shared.inference.preparation.image import decode
from shared.inference.preparation.jpegs import MAX_SCANS
from tests.support.expensive_images import repeated_scans

SIZE = 64
#: Entry of an index in the clip of a motion photo, which looks like a start of a scan.
CLIP = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x0c\1\2\3" * 200


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    image = Image.fromarray(values).resize((640, 480)).convert(mode)
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def test_clip_behind_a_photo_is_not_read() -> None:
    assert decode(jpeg() + CLIP, SIZE) == decode(jpeg(), SIZE)


def test_scans_in_a_thumbnail_do_not_count() -> None:
    exif = b"Exif\0\0" + b"\xff\xda" * (MAX_SCANS + 1)
    assert decode(jpeg(exif=exif), SIZE) == decode(jpeg(), SIZE)


@pytest.mark.parametrize(
    "prefix",
    [b"\xff\xfe\0\4\xff\xd9", b"\xff\xff\xff\xfe\0\2", b"garbage\xff\0\xff\xd0\xff\1"],
    ids=["an end within a comment", "marks of many bytes", "bytes without meaning"],
)
def test_scans_cannot_be_hidden(prefix: bytes) -> None:
    many = repeated_scans(16, MAX_SCANS, "JPEG")
    start = many.rindex(b"\xff\xda")
    with pytest.raises(ImageUnreadable, match=r"at most 100 scans\. Received: 1\d\d"):
        decode(many[:start] + prefix + many[start:], SIZE)
    first = many.index(b"\xff\xda")
    with pytest.raises(ImageUnreadable):
        decode(many[:first] + prefix + many[first:], SIZE)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_missing_end_mark_changes_nothing(mode: str, options: dict[str, object]) -> None:
    content = jpeg(mode, **options)
    assert decode(content[:-2], SIZE) == decode(content, SIZE)
    assert decode(content[:-1], SIZE) == decode(content, SIZE)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_image_is_used_if_nearly_all_of_it_is_there(mode: str, options: dict[str, object]) -> None:
    content = jpeg(mode, **options)
    whole = np.frombuffer(decode(content, SIZE), np.uint8).astype(int)
    used = np.frombuffer(decode(content[: int(len(content) * 0.98)], SIZE), np.uint8)
    assert np.abs(used - whole).mean() < 3
    for share in (0.88, 0.5, 0.1) if not options.get("progressive") else (0.5, 0.1):
        with pytest.raises(ImageUnreadable):
            decode(content[: int(len(content) * share)], SIZE)


def test_grey_bottom_is_not_missing() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(stream, "JPEG")
    assert decode(stream.getvalue(), SIZE)
