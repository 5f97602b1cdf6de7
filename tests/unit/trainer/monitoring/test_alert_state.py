"""Workflow state of an alert: stored under fixed keys, so that older alerts can be read."""

from typing import Any

import pytest

from shared.db.models import AlertStatus, DriftAlert
from trainer.monitoring.alert_state import AlertState, await_version, mark_over_budget


def alert(details: dict[str, Any]) -> DriftAlert:
    return DriftAlert(details=details, status=AlertStatus.OPEN.value)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"measured": {}}, AlertState()),
        ({"dataset_version_id": "v1"}, AlertState(awaited_version_id="v1")),
        ({"over_budget": True}, AlertState(is_over_budget=True)),
        ({"allowed_by": "olga"}, AlertState(is_allowed=True)),
    ],
)
def test_state_is_read_from_the_stored_keys(details: dict[str, Any], expected: AlertState) -> None:
    assert AlertState.of(alert(details)) == expected


def test_state_is_written_under_the_stored_keys_beside_other_details() -> None:
    waiting = alert({"windows": 2})
    await_version(waiting, "v1")
    mark_over_budget(waiting)
    assert waiting.details == {"windows": 2, "dataset_version_id": "v1", "over_budget": True}
    assert waiting.status == AlertStatus.TRAINING.value
