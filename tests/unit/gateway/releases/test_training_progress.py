"""Tests of the progress of training runs in the API."""

from shared.db.models import Role, TrainingRun
from tests.unit.gateway.conftest import Api


def test_run_shows_its_stage_and_the_progress_within_it(api: Api) -> None:
    operator = api.sign(api.user(Role.OPERATOR))
    progress = {"step": "image_xception fit", "done": 4, "of": 39, "part": 200, "parts": 700}
    queued = TrainingRun(requested_by="ada", reason="new categories")
    running = TrainingRun(
        requested_by="ada", reason="drift", status="running", progress=progress, log_tail="200 of"
    )
    api.add(queued, running)
    shown = api.client.get(f"/v1/training-runs/{running.id}", headers=operator).json()
    assert shown["stage"] == "Train image model: Xception"
    assert (shown["progress"], shown["log_tail"]) == (progress, "200 of")
    assert (
        api.client.get(f"/v1/training-runs/{queued.id}", headers=operator).json()["stage"] is None
    )
