from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.inference.releases.image_model import Backbone
from tests.support.tiny_release import TINY_EXTRACTOR, write_tiny_release


def test_release_for_another_preparation_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_release(tmp_path / "1", in_two_steps=True)
    part = TINY_EXTRACTOR.model_copy(update={"preparation": "image-0"})
    with pytest.raises(InvalidInput, match="Received: 'image-0'"):
        Backbone(folder, part, threads=1)
