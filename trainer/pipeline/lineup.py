"""Candidates of a training run, by its line-up and by the names that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput
from trainer.candidates.fusion.pools import FusionCandidate
from trainer.candidates.image.champion import champion_backbone
from trainer.candidates.protocols import ImageCandidate, TextCandidate
from trainer.candidates.registry import (
    FUSION,
    IMAGES,
    ON_REQUEST_IMAGES,
    QUICK_FUSION,
    QUICK_IMAGES,
    QUICK_TEXT,
    STUDENTS,
    TEXT,
)
from trainer.candidates.text.encoders import find_encoder
from trainer.datasets.folder import Dataset
from trainer.pipeline.chosen.final_fit import LEAST_ROWS
from trainer.pipeline.context import TrainingContext, TrainingSettings

#: Number of steps of a run by its line-up, for its progress.
EXPECTED_STEPS = {"quick": 19, "full": 43}
#: More steps of a full run with an encoder: a teacher, and models that learn from it.
TEACHER_STEPS = 13
#: More steps of a final fit of n-grams and the head of an image network.
FINAL_FIT_STEPS = 7


@dataclass(frozen=True)
class Candidates:
    """Candidates by kind, in the order in which they are tried."""

    text: tuple[TextCandidate, ...]
    students: tuple[TextCandidate, ...]
    image: tuple[ImageCandidate, ...]
    fusion: tuple[FusionCandidate, ...]

    def only(self, names: Sequence[str]) -> "Candidates":
        """Return the named candidates; all of each kind without a name in this line-up."""
        kinds: dict[str, Any] = vars(self)
        found: dict[str, Any] = {}
        for kind in (("text", "students"), ("image",), ("fusion",)):
            named = {one: [each for each in kinds[one] if each.name in names] for one in kind}
            if any(named.values()):
                found |= {one: tuple(some) for one, some in named.items()}
        return replace(self, **found)


def require_candidates(names: Sequence[str], champion: Path | None) -> None:
    """Check that candidates exist, without any data.

    Args:
        names: Their names, of any line-up.
        champion: Folder of the serving release, whose image network is a candidate.

    Raises:
        InvalidInput: There is none of a name.
    """
    lineups = (
        _full(champion_backbone(champion), ON_REQUEST_IMAGES),
        Candidates(QUICK_TEXT, (), QUICK_IMAGES, QUICK_FUSION),
    )
    known = sorted({one.name for some in lineups for kind in vars(some).values() for one in kind})
    if unknown := [name for name in names if name not in known]:
        raise InvalidInput(
            f"Expected names of candidates out of {', '.join(known)}. "
            f"Received: {', '.join(unknown)}"
        )


def candidates_of(context: TrainingContext) -> Candidates:
    """Return the candidates of the run. Raises `InvalidInput` if there is none of a name."""
    settings = context.settings
    require_candidates(settings.candidates, settings.champion)
    champion = champion_backbone(settings.champion)
    asked = tuple(one for one in ON_REQUEST_IMAGES if one.name in settings.candidates)
    lineup = _full(champion, asked) if settings.lineup == "full" else _quick(context, champion)
    return lineup.only(settings.candidates)


def _full(champion: tuple[ImageCandidate, ...], asked: tuple[ImageCandidate, ...]) -> Candidates:
    # The champion's network comes last: of equals, one with a descriptive name is chosen.
    return Candidates(TEXT, STUDENTS, (*IMAGES, *asked, *champion), FUSION)


def _quick(context: TrainingContext, champion: tuple[ImageCandidate, ...]) -> Candidates:
    possible = [one for one in QUICK_IMAGES if one.unavailable_reason(context.fit) is None]
    return Candidates(QUICK_TEXT, (), (*possible, *champion)[:1], QUICK_FUSION)


def expected_steps(settings: TrainingSettings, data: Dataset) -> int:
    """Return the number of steps of a run, for its progress."""
    has_teacher = settings.lineup == "full" and find_encoder(settings.weights) is not None
    has_final_fit = settings.final_fit != "none" and len(data.part("test")) >= LEAST_ROWS
    return (
        EXPECTED_STEPS[settings.lineup]
        + (TEACHER_STEPS if has_teacher else 0)
        + (FINAL_FIT_STEPS if has_final_fit else 0)
    )
