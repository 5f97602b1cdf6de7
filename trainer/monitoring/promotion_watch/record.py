"""The watch as the ledger stores it with a promotion."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.db.models import WatchState
from trainer.monitoring.promotion_watch.measures import Finding


@dataclass(frozen=True)
class Record:
    """State and figures of one watch.

    Attributes:
        state: A `WatchState`.
        sentence: State in words; for a release found worse, the reason.
        at: Time of the last change, in ISO 8601.
        answers: Answers of the promoted release that were seen.
        labelled: Labelled ones among them.
        compared: Products that both releases scored.
        looked: Rows of the last look, by measure.
        findings: Finding of the last look, by measure.
    """

    state: str = ""
    sentence: str = ""
    at: str = ""
    answers: int = 0
    labelled: int = 0
    compared: int = 0
    looked: Mapping[str, int] = field(default_factory=dict)
    findings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Record":
        """Read a stored watch; fields of later versions are left out."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in stored.items() if name in names})

    def as_json(self) -> dict[str, Any]:
        """Return the watch in the form that is stored."""
        return asdict(self)

    def moved_to(self, state: WatchState, sentence: str, moment: datetime) -> "Record":
        """Return the watch in another state."""
        return replace(self, state=state.value, sentence=sentence, at=moment.isoformat())

    def with_findings(self, findings: Sequence[Finding]) -> "Record":
        """Return the watch after looks at some measures."""
        rows = {finding.measure: finding.rows for finding in findings}
        found = {finding.measure: asdict(finding) for finding in findings}
        return replace(self, looked={**self.looked, **rows}, findings={**self.findings, **found})
