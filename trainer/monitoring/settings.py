"""Settings of the monitor, from `RAYON_MONITOR_…` and `RAYON_DRIFT_…` variables."""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


class MonitorSettings(Settings):
    """What the monitor measures, and what is done about alerts."""

    model_config = SettingsConfigDict(env_prefix="RAYON_MONITOR_", frozen=True)

    #: Whether an alert leads to a training at once, or a person is asked first.
    response: Literal["automatic", "ask"] = "automatic"
    #: Trainings that alerts may start within seven days; a person may always start one.
    trainings_per_week: int = Field(default=2, ge=0)
    #: The stored dataset that is trained on, with the labels that came since. Without a name it is
    #: the one that was trained on last, else the newest, else the trainer's own folder.
    dataset: str | None = None
    #: A training is asked for by the calendar, so many days after the last one; 0: never.
    train_every_days: int = Field(default=0, ge=0)
    #: How often it is looked at how trainings went.
    interval_seconds: float = Field(default=10.0, gt=0)
    #: How often F1 is estimated, and measured where labels came.
    measure_seconds: float = Field(default=15 * 60.0, gt=0)
    #: The champion is scored on the test set again after so many days.
    test_every_days: int = Field(default=7, ge=1)
    #: Answers of each day that people are asked to look at, on average: drawn at random, and more
    #: likely the less sure they are.
    reviews_random: int = Field(default=50, ge=0)
    reviews_uncertain: int = Field(default=50, ge=0)


class DriftSettings(Settings):
    """How answers are compared with the release's reference."""

    model_config = SettingsConfigDict(env_prefix="RAYON_DRIFT_", frozen=True)

    #: Answers of a window.
    window_rows: int = Field(default=1_000, ge=100)
    #: Where fewer come, a window ends after so long, if it has the least number.
    window_seconds: float = Field(default=24 * 3600.0, gt=0)
    least_rows: int = Field(default=200, ge=100)
    #: How often it is looked whether a window is complete.
    interval_seconds: float = Field(default=15.0, gt=0)
    #: Nothing is alerted of twice within so long.
    cooldown_seconds: float = Field(default=7 * 24 * 3600.0, ge=0)
    #: What is far; see `trainer.monitoring.drift.measure.Limits`.
    content: float = Field(default=0.15, gt=0, le=1)
    mix: float = Field(default=0.1, gt=0)
    share: float = Field(default=0.2, gt=0)
    #: What chance does not explain; in two windows in a row.
    p_value: float = Field(default=0.001, gt=0, lt=1)
