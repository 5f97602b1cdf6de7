"""Settings of the monitor, from `RAYON_MONITOR_…`, `RAYON_DRIFT_…` and `RAYON_WATCH_…`."""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


class MonitorSettings(Settings):
    """Measurement schedule, response to alerts, and size of the review sample."""

    model_config = SettingsConfigDict(env_prefix="RAYON_MONITOR_", frozen=True)

    #: Response to an alert: start a training at once, or ask a person first.
    response: Literal["automatic", "ask"] = "automatic"
    #: Trainings that alerts may start within seven days; people are not limited.
    trainings_per_week: int = Field(default=2, ge=0)
    #: Trusted labels of products since the change for which a training about drift waits, and days
    #: after which it starts without: from rows of before, it learns nothing of what comes now. From
    #: this number on, the gate has enough labelled test rows to see the gain.
    least_labels: int = Field(default=200, ge=0)
    label_days: float = Field(default=7.0, ge=0)
    #: Name of the stored dataset to train on, with labels added since. Without a name: the dataset
    #: of the last training, else the newest dataset, else the trainer's own data folder.
    dataset: str | None = None
    #: Request a training this many days after the last request; 0 disables the calendar.
    train_every_days: int = Field(default=0, ge=0)
    #: Request a training once this many trusted labels are in no version of the dataset, or
    #: `least_labels` in the 30 days after a change; 0 disables it.
    train_every_labels: int = Field(default=1_000, ge=0)
    #: Interval between checks of open alerts and their trainings.
    interval_seconds: float = Field(default=10.0, gt=0)
    #: Interval between F1 measurements: estimates, and figures from new labels.
    measure_seconds: float = Field(default=15 * 60.0, gt=0)
    #: Days after which the champion is scored on the held-out test set again.
    test_every_days: int = Field(default=7, ge=1)
    #: Average number of answers per day drawn for human review: at random, and weighted towards
    #: low confidence.
    reviews_random: int = Field(default=50, ge=0)
    reviews_uncertain: int = Field(default=50, ge=0)


class DriftSettings(Settings):
    """Size of drift windows, and the thresholds and timing of drift alerts."""

    model_config = SettingsConfigDict(env_prefix="RAYON_DRIFT_", frozen=True)

    #: Answers per window.
    window_rows: int = Field(default=1_000, ge=100)
    #: Time after which a smaller window closes, if it holds at least `least_rows` answers.
    window_seconds: float = Field(default=24 * 3600.0, gt=0)
    least_rows: int = Field(default=200, ge=100)
    #: Interval between checks for a complete window.
    interval_seconds: float = Field(default=15.0, gt=0)
    #: Minimum time between two alerts of the same kind.
    cooldown_seconds: float = Field(default=7 * 24 * 3600.0, ge=0)
    #: Effect sizes that count as drift; see `trainer.monitoring.drift.measure.Limits`.
    content: float = Field(default=0.15, gt=0, le=1)
    mix: float = Field(default=0.1, gt=0)
    share: float = Field(default=0.2, gt=0)
    #: Significance level of each test; drift must exceed it in two consecutive windows.
    p_value: float = Field(default=0.001, gt=0, lt=1)


class WatchSettings(Settings):
    """Watch over a promoted release: its length, its reaction, and its error probability."""

    model_config = SettingsConfigDict(env_prefix="RAYON_WATCH_", frozen=True)

    #: Reaction to a release that is worse: roll it back, or only raise an alert.
    action: Literal["roll_back", "alert"] = "roll_back"
    #: Answers of each kind that are compared at most, and hours after which the watch ends; with 0
    #: hours no release is watched.
    answers: int = Field(default=400, ge=25)
    hours: float = Field(default=72.0, ge=0)
    #: Interval between checks for new answers.
    interval_seconds: float = Field(default=15.0, gt=0)
    #: Most images whose features are computed for one look, a tenth of a second of one core each;
    #: images with stored features take a millisecond and are all scored.
    images: int = Field(default=100, ge=0)
    #: Largest probability of finding a release worse by chance.
    false_alarms: float = Field(default=0.01, gt=0, lt=1)
