from pathlib import Path

import pandas as pd
from PIL import Image

from trainer.package import IMAGE_BATCH, read_pictures


def test_unreadable_pictures_are_left_out(tmp_path: Path) -> None:
    # Given more pictures than a batch, one of them broken
    paths = [tmp_path / f"{i}.png" for i in range(IMAGE_BATCH + 2)]
    for shade, path in enumerate(paths):
        Image.new("RGB", (20, 20), (shade, shade, shade)).save(path)
    paths[1].write_bytes(b"no picture")
    # When they are read
    rows = pd.DataFrame({"picture": [str(path) for path in paths]})
    found = list(read_pictures(rows, 32))
    # Then every other picture comes once, at its position
    assert [len(positions) for positions, _ in found] == [IMAGE_BATCH, 1]
    pairs = [
        (p, int(x[0, 0, 0]))
        for positions, pixels in found
        for p, x in zip(positions, pixels, strict=True)
    ]
    assert pairs == [(i, i) for i in range(IMAGE_BATCH + 2) if i != 1]
