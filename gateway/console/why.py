"""Words and cells of an explanation, by how much they spoke for the answer."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.jobs.explanation_schemas import ExplanationOut

#: Least share of the largest effect for each of the levels 1 to 3; below the first is level 0.
_LEVELS = (0.1, 0.35, 0.7)
#: An effect below this many log-odds is shown as none: it does not change a rounded probability.
_LEAST = 0.05
#: Words in the sentence and in the table.
NAMED, LISTED = 3, 12


@dataclass(frozen=True)
class Part:
    """Words, or a cell of an image, with their effect.

    Attributes:
        text: The words; empty for a cell.
        effect: Fall of the log-odds without the part.
        level: 0 for no effect, to 3 for the largest ones.
    """

    text: str
    effect: float
    level: int

    @property
    def side(self) -> str:
        """Return `for` or `against`, or nothing for a part without effect."""
        if not self.level:
            return ""
        return "for" if self.effect > 0 else "against"

    @property
    def factor(self) -> float:
        """Factor, at least 1, by which the part raises or lowers the odds of the category."""
        return math.exp(min(abs(self.effect), 20.0))


@dataclass(frozen=True)
class Why:
    """An explanation as a page shows it, or the reason why there is none.

    Attributes:
        out: The explanation; `None` if it was not asked for, or was refused.
        problem: Message of the refusal; empty without one.
        title: Words of the title.
        body: Words of the description.
        words: Different words with an effect, the largest effect first.
        cells: Cells of the image by row.
    """

    out: ExplanationOut | None = None
    problem: str = ""
    title: Sequence[Part] = ()
    body: Sequence[Part] = ()
    words: Sequence[Part] = ()
    cells: Sequence[Sequence[Part]] = ()

    @property
    def speakers(self) -> Sequence[Part]:
        """The words that spoke most for the category."""
        return [part for part in self.words if part.side == "for"][:NAMED]

    @property
    def opponents(self) -> Sequence[Part]:
        """The words that spoke most against the category."""
        return [part for part in self.words if part.side == "against"][:NAMED]


def why_of(out: ExplanationOut) -> Why:
    """Prepare an explanation for a page."""
    title, body = ((), ()) if out.text is None else (out.text.designation, out.text.description)
    grid = [] if out.image is None else out.image.grid
    largest = _largest(one.effect for one in (*title, *body))
    strongest = _largest(effect for row in grid for effect in row)
    parts = [[_part(one.text, one.effect, largest) for one in field] for field in (title, body)]
    return Why(
        out=out,
        title=parts[0],
        body=parts[1],
        words=_different([*parts[0], *parts[1]]),
        cells=[[_part("", effect, strongest) for effect in row] for row in grid],
    )


def _largest(effects: Iterable[float]) -> float:
    return max(map(abs, effects), default=0.0)


def _part(text: str, effect: float, largest: float) -> Part:
    share = abs(effect) / largest if abs(effect) >= _LEAST else 0.0
    return Part(text, effect, sum(share >= least for least in _LEVELS))


def _different(parts: Sequence[Part]) -> Sequence[Part]:
    """Return each text once, the largest effect first."""
    by_text = {part.text.casefold(): part for part in reversed(parts) if part.side}
    return sorted(by_text.values(), key=lambda part: -abs(part.effect))[:LISTED]
