"""Plan of repeated tests on growing samples, with a bounded probability of any false alarm.

Answers arrive one by one, and a bad release should be found early, so each measure is tested
several times. Each look at the data needs its share of the error probability: with five looks at
.05, one of seven good releases would be found worse (Armitage, McPherson & Rowe 1969). Here the
probability is divided evenly among all measures and all looks at sample sizes that double
(Bonferroni). Boundaries of Pocock (1977) or O'Brien & Fleming (1979), and spending functions (Lan &
DeMets 1983), reject a little earlier, but need a test statistic with independent increments and one
kind of sample; the bound of Bonferroni holds for exact tests, labels that come late and measures
that depend on each other.
"""

from dataclasses import dataclass

#: Rows of the first look: with fewer, no exact test of a share can reach the level of one look.
FIRST_ROWS = 25


@dataclass(frozen=True)
class Looks:
    """Looks at every measure of a promotion.

    Attributes:
        most_rows: Rows of the last look, at least `FIRST_ROWS`.
        measures: Number of measures.
        false_alarms: Largest probability that any look finds a release worse that is not.
    """

    most_rows: int
    measures: int
    false_alarms: float

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each look: they double from the first to the last."""
        sizes = [FIRST_ROWS]
        while sizes[-1] < self.most_rows:
            sizes.append(min(2 * sizes[-1], self.most_rows))
        return tuple(sizes)

    @property
    def level(self) -> float:
        """Significance level of one look at one measure."""
        return self.false_alarms / (self.measures * len(self.sizes))

    def is_due(self, rows: int, looked: int) -> bool:
        """Return True if a measure has enough rows for its next look.

        The sizes at least double, except for the last, so that there are never more looks than
        `sizes`, even where rows arrive in large groups.

        Args:
            rows: Rows that there are.
            looked: Rows of the last look, 0 before the first.
        """
        return rows >= self.next_rows(looked) and looked < self.most_rows

    def next_rows(self, looked: int) -> int:
        """Return the rows that the next look needs."""
        return min(max(FIRST_ROWS, 2 * looked), self.most_rows)
