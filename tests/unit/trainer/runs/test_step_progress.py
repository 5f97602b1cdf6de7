"""Tests of the progress within a step, read from the log of a training."""

from trainer.runs.step_progress import StepProgress

FIT = {"step": "image_xception fit", "done": 4, "of": 39, "at": "2026-11-28T10:00:00+00:00"}


class _Clock:
    """Time that a test sets, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_images_of_a_step_are_counted_and_the_rest_is_estimated() -> None:
    clock = _Clock()
    progress = StepProgress(clock)
    assert progress.of(FIT, ["read 700 products"]) == FIT
    clock.now += 20
    lines = ["read 700 products", "200 of 700 images, 200 computed", "something else"]
    assert progress.of(FIT, lines) == {
        **FIT,
        "part": 200,
        "parts": 700,
        "unit": "images",
        "seconds_left": 50.0,
    }


def test_epochs_of_a_step_are_counted() -> None:
    progress = StepProgress(_Clock())
    progress.of(FIT, [])
    found = progress.of(FIT, ["text_rnn, member 1: epoch 2 of 5, loss 0.310"])
    assert found == {**FIT, "part": 2, "parts": 5, "unit": "epochs"}


def test_lines_of_an_earlier_step_do_not_count() -> None:
    progress, line = StepProgress(_Clock()), "200 of 700 images, 200 computed"
    progress.of(FIT, [line])
    following = {**FIT, "step": "image_xception predict", "done": 5}
    assert progress.of(following, [line]) == following
    assert progress.of(following, [line, "reading"]) == following


def test_lines_without_progress_are_none_and_other_numbers_are_not_read() -> None:
    progress = StepProgress(_Clock())
    assert progress.of(None, ["200 of 700 images"]) is None
    progress.of(FIT, [])
    assert progress.of(FIT, ["3 of 700 images cannot be read"]) == FIT
