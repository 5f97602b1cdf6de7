"""Settings of the trainer service, from `RAYON_TRAINER_…` variables."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings

#: Share of the machine's memory that a training may use, and of its container's limit.
MACHINE_SHARE, CONTAINER_SHARE = 0.6, 0.9
#: Files with the memory limit of a container, in bytes: control groups of version 2 and 1.
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class TrainerSettings(Settings):
    """Data, work folder, limits and promotion policy of the trainer service."""

    model_config = SettingsConfigDict(env_prefix="RAYON_TRAINER_", frozen=True)

    data: Path | None = None
    weights: Path | None = None
    work_folder: Path = Path("var/training")
    #: Time limit of an attempt's training, and again of the comparison after it.
    time_limit_seconds: float = Field(default=6 * 3600.0, gt=0)
    #: Time between SIGTERM and SIGKILL of a training; the launcher allows the service 20 s.
    stop_grace_seconds: float = Field(default=10.0, gt=0)
    #: Added to the nice value of a training's processes, and `True` to run them on Linux only while
    #: no other program wants to compute or read (SCHED_IDLE, idle I/O class; where memory runs out,
    #: the kernel ends them first). Both yield to the catalog workers, whose nice value is 19.
    niceness: int = Field(default=19, ge=0, le=19)
    is_background: bool = True
    #: Threads of each numerical library of a training, by default one core less than there are.
    threads: int = Field(default_factory=lambda: max(1, (os.cpu_count() or 1) - 1), ge=1)
    #: Most memory of a training's processes together; above it the run fails. By default 60 % of
    #: the machine's memory, or 90 % of the container's limit, if that is less.
    memory_megabytes: int = Field(default_factory=lambda: memory_share() // 2**20, ge=1)
    #: A run whose trainer or training was killed this often is given up.
    max_attempts: int = Field(default=3, ge=1)
    #: Retry period for a registry that does not answer, before the run fails.
    registry_patience_seconds: float = Field(default=15 * 60.0, ge=0)
    #: `both`: where the champion does not know every category of the data, a quick line-up comes
    #: first, whose release may serve after minutes. `full`: never. `quick`: nothing else,
    #: for a shop that would rather be retrained within minutes than gain the last percent.
    lineup: Literal["both", "full", "quick"] = "both"
    #: Test packages in the trainer's own environment, with its packages hidden, instead of one that
    #: is installed from the package index: for machines that do not reach an index.
    offline: bool = False
    #: Numbers that image networks compute with. `int8` is two to three times as fast on processors
    #: with instructions for it; a network whose features it changes computes in floats.
    arithmetic: Literal["float", "int8"] = "float"
    #: Weight of rare categories while models are fitted, from 0 for none to below 1: the effective
    #: number of rows of Cui et al. (2019).
    class_balance: float = Field(default=0.0, ge=0, lt=1)
    #: `validation`: the models that serve are fitted once more when they are chosen, on the rows of
    #: validation as well. `none`: they ship as they were chosen.
    final_fit: Literal["none", "validation"] = "validation"
    #: Most recent products without a label that a training may learn from if the mix of categories
    #: has changed; 0 for none.
    recent_answers: int = Field(default=3_000, ge=0)
    #: `automatic` promotes a better release at once; `manual` leaves it to an admin. Manual is the
    #: default: a release may be better on the whole and worse where it matters to a shop.
    promotion: Literal["automatic", "manual"] = "manual"
    #: `automatic` also promotes at once a release that cannot be compared, because the champion
    #: knows none of its categories, and one that is better but lacks some of the champion's. The
    #: starter release is replaced without this.
    promotion_of_other_categories: Literal["automatic", "manual"] = "manual"
    #: Smallest gain of weighted F1 that justifies a promotion: each one changes answers that
    #: customers have seen. On 4,000 rows .002 is 8 products, and chance alone moves .003 to .006;
    #: so the confidence interval decides on tests of this size, the margin on much larger ones.
    promotion_margin: float = Field(default=0.002, ge=0)
    #: Confidence level of the two-sided interval of the gain; a release that is merely as good as
    #: the champion passes once in forty times.
    promotion_confidence: float = Field(default=0.95, gt=0.5, lt=1)
    #: The same after an alert about a change: the release that serves is known to answer worse than
    #: it did, so that waiting costs more than another release that is merely as good.
    promotion_confidence_after_change: float = Field(default=0.8, gt=0.5, lt=1)
    #: Probability of being better that suffices after such an alert, on labelled answers or on all
    #: rows; 1 requires the confidence. A release that is worse beyond chance on labelled answers or
    #: on the other rows is never promoted.
    promotion_probability_after_change: float = Field(default=0.5, ge=0.5, le=1)
    #: Largest loss of weighted F1 on the rows of the shop's files that a gain on labelled answers
    #: excuses; the whole interval of the difference must lie above it. Chance alone moves it .01.
    promotion_tolerance: float = Field(default=0.02, ge=0)
    #: Least gain of weighted F1, as the lower end of its interval, for which a training that the
    #: calendar or new labels asked for is promoted by itself while nothing has changed; less waits
    #: for an admin. Clients see other answers after each promotion, however small its gain.
    promotion_routine_gain: float = Field(default=0.01, ge=0)
    #: Most rows of a dataset version with labels of one user, and their largest share of its rows
    #: for training; a user's first 100 rows always count. They limit what one account can do to a
    #: release. Reviewers who label 100 answers a day reach the share of 100,000 rows in 100 days.
    labels_per_user: int = Field(default=10_000, ge=0)
    labels_per_user_share: float = Field(default=0.1, ge=0, le=1)
    #: Ratio of the odds of disagreement with the model, of one user to the others, from which all
    #: labels of the user are left out of a dataset version; 0 for never. A user who differs in 21 %
    #: of confident answers where others differ in 5 % has the ratio 5.
    labels_odds_ratio: float = Field(default=5.0, ge=0)


def memory_share() -> int:
    """Return the bytes of memory that a training may use by default."""
    machine = MACHINE_SHARE * psutil.virtual_memory().total
    return int(min([machine, *(CONTAINER_SHARE * limit for limit in _container_limits())]))


def _container_limits() -> list[int]:
    found = []
    for path in CONTAINER_LIMITS:
        # Only Linux has one of them, and `max` means no limit.
        with suppress(OSError, ValueError):
            found.append(int(path.read_text()))
    return found
