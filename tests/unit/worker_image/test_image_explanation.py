import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.contracts import (
    Explained,
    ExplainImage,
    ExplainImageItem,
    Lane,
    Modality,
    ModalityExplained,
)
from tests.support.tiny_release import write_tiny_release
from tests.unit.worker_image.test_image_worker import Scene
from worker_image.explanation import ImageExplainer, cells_for, occluded

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def half_white() -> bytes:
    """Return an image that is white on the left and black on the right."""
    image = Image.new("RGB", (300, 300), "black")
    image.paste("white", (0, 0, 150, 300))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module", params=[False, True], ids=["one step", "two steps"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("releases")
    write_tiny_release(root / "1", in_two_steps=request.param)
    return root


def explain(
    scene: Scene,
    uri: str = "a",
    *,
    code: int = 2583,
    release: str = "1",
    late: timedelta = timedelta(),
    seconds: float = 0.0,
) -> Explained:
    def clock() -> Iterator[float]:
        yield from (0.0, seconds)

    ticks = clock()
    scene.broker.messages.clear()
    explainer = ImageExplainer(
        scene.handler.pool,
        scene.handler.heads,
        scene.broker,
        scene.storage,
        scene.decoders,
        lambda: NOW,
        lambda: next(ticks),
    )
    explainer.explain_image(
        ExplainImage(
            trace_id="a" * 32,
            lane=Lane.INTERACTIVE,
            release=release,
            user_id="ada",
            expires_at=NOW + timedelta(seconds=60) - late,
            items=(ExplainImageItem(job_id="1", uri=uri, prdtypecode=code),),
        )
    )
    (message,) = scene.broker.messages
    assert isinstance(message, ModalityExplained)
    assert (message.queue, message.modality) == ("fusion.interactive", Modality.IMAGE)
    (item,) = message.items
    return item


def test_bright_cells_speak_for_the_bright_category(root: Path) -> None:
    # The tiny model knows only the brightness.
    found = explain(Scene(root, {"a": half_white()}))
    assert found.failure is None
    grid = np.array(found.grid)
    assert grid.shape == (6, 6)
    assert (grid[:, :3] > 0).all()
    assert (grid[:, 3:] < 0).all()
    opposite = np.array(explain(Scene(root, {"a": half_white()}), code=10).grid)
    np.testing.assert_allclose(opposite, -grid, atol=1e-3)


def test_grid_is_coarser_where_an_image_takes_long(root: Path) -> None:
    scene = Scene(root, {"a": half_white()})
    found = explain(scene, seconds=0.4)
    assert (len(found.grid), len(found.grid[0])) == (3, 3)
    # Twice the whole image, and once without each cell.
    assert sum(scene.computed) == 2 + 9
    assert [cells_for(seconds) for seconds in (0.0, 0.1, 0.25, 1.0, 60.0)] == [6, 6, 4, 2, 2]


def test_a_cell_gets_the_mean_colour_and_nothing_else_changes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    variants = occluded(pixels, 2)
    changed = np.stack([(variant != pixels).any(axis=2) for variant in variants])
    assert changed.sum(axis=0).max() == 1
    assert changed[0, :3, :3].any()
    assert not changed[0, 4:, :].any()
    mean = pixels.mean(axis=(0, 1)).round()
    assert (variants[3][4:, 4:] == mean).all()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"uri": "broken"}, "image_unreadable"),
        ({"uri": "gone"}, "image_missing"),
        ({"release": "9"}, "release_unknown"),
        ({"late": timedelta(seconds=61)}, "explanation_expired"),
    ],
)
def test_what_cannot_be_explained_has_a_reason(
    root: Path, changes: dict[str, str], code: str
) -> None:
    scene = Scene(root, {"a": half_white(), "broken": b"no image"})
    found = explain(scene, **changes)  # type: ignore[arg-type]
    assert found.failure is not None
    assert found.failure.code == code
