"""Settings of the trainer service, from `RAYON_TRAINER_…` variables."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


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
    #: A run whose trainer or training was killed this often is given up.
    max_attempts: int = Field(default=3, ge=1)
    #: Retry period for a registry that does not answer, before the run fails.
    registry_patience_seconds: float = Field(default=15 * 60.0, ge=0)
    #: `automatic` promotes a better release at once; `manual` leaves it to an admin. Manual is the
    #: default: a release may be better on the whole and worse where it matters to a shop.
    promotion: Literal["automatic", "manual"] = "manual"
    #: Smallest gain of weighted F1 that justifies a promotion: each one changes answers that
    #: customers have seen. On 4,000 rows .002 is 8 products, and chance alone moves .003 to .006;
    #: so the confidence interval decides on tests of this size, the margin on much larger ones.
    promotion_margin: float = Field(default=0.002, ge=0)
    #: Confidence level of the two-sided interval of the gain; a release that is merely as good as
    #: the champion passes once in forty times.
    promotion_confidence: float = Field(default=0.95, gt=0.5, lt=1)
    #: Most rows of a dataset version with labels of one user, and their largest share of its rows
    #: for training; a user's first 100 rows always count. They limit what one account can do to a
    #: release. Reviewers who label 100 answers a day reach the share of 100,000 rows in 100 days.
    labels_per_user: int = Field(default=10_000, ge=0)
    labels_per_user_share: float = Field(default=0.1, ge=0, le=1)
