"""Settings of the trainer service, from `RAYON_TRAINER_…` variables."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


class TrainerSettings(Settings):
    """What the trainer service trains on, and where it works."""

    model_config = SettingsConfigDict(env_prefix="RAYON_TRAINER_", frozen=True)

    data: Path | None = None
    weights: Path | None = None
    work_folder: Path = Path("var/training")
    #: Of one attempt's training, and of the comparison after it.
    time_limit_seconds: float = Field(default=6 * 3600.0, gt=0)
    #: Between asking a training to end and killing it; the launcher allows the service 20 s.
    stop_grace_seconds: float = Field(default=10.0, gt=0)
    #: A run whose trainer or training is killed this often is given up.
    max_attempts: int = Field(default=3, ge=1)
    #: How long a registry that does not answer is asked again before the run fails.
    registry_patience_seconds: float = Field(default=15 * 60.0, ge=0)
    #: Whether a better release serves at once, or waits for an admin. A person decides unless told
    #: otherwise: a release may be better on the whole and worse where it matters to a shop.
    promotion: Literal["automatic", "manual"] = "manual"
    #: Least gain of weighted F1 that is worth a switch: each switch changes answers that customers
    #: have seen. On 4,000 rows .002 is 8 products, and chance alone moves .003 to .006; so the
    #: interval decides on tests of this size, and the margin on much larger ones.
    promotion_margin: float = Field(default=0.002, ge=0)
    #: Of the two-sided interval of the gain; a release that is as good passes once in forty times.
    promotion_confidence: float = Field(default=0.95, gt=0.5, lt=1)
