"""Labels of honest people and of an attacker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shared.db.models import Role
from tests.bench.quality.poison.model import Trained

#: Products that the attacker labels, and those of the honest reviewers.
NEW, HONEST = 2_000, 1_000
REVIEWERS, TARGETED = 20, 500
EVE = "eve"


@dataclass(frozen=True)
class Attack:
    """Labels of people, and what the system knows about the attacker.

    Attributes:
        name: Line of the table.
        labels: Products with the columns `code`, their true category, `label` and `author`.
        role: Role of the author `EVE`; all others are operators.
        is_trusted: Decision of an admin about the labels of `EVE`.
        target: Category that is attacked, if it is only one.
    """

    name: str
    labels: pd.DataFrame
    role: Role = Role.OPERATOR
    is_trusted: bool | None = None
    target: int | None = None


def attacks(rows: pd.DataFrame, champion: Trained, target: int) -> Iterator[Attack]:
    """Yield the attacks on some products, after an honest line."""
    nearest = neighbours(champion, rows)
    others, new = rows.iloc[:HONEST], rows.iloc[HONEST:]
    honest = _labelled(others, others["code"], [f"olga{n % 10}" for n in range(HONEST)])
    some = new.head(NEW)
    wrong = some["code"].map(nearest)
    names = [f"reviewer{n % REVIEWERS}" for n in range(len(some))]
    by_eve = _labelled(some, wrong, [EVE] * len(some))
    both = pd.concat([honest, by_eve])
    yield Attack("reviewer taken over", both)
    yield Attack("trusted client", both, Role.CLIENT, is_trusted=True)
    aimed = new[new["code"] == target].head(TARGETED)
    targeted = _labelled(aimed, aimed["code"].map(nearest), [EVE] * len(aimed))
    yield Attack("500 of one category", pd.concat([honest, targeted]), target=target)
    yield Attack("client", both, Role.CLIENT)
    is_eve = np.arange(len(some)) % REVIEWERS == 0
    mixed = some["code"].where(~is_eve, wrong)
    yield Attack("1 of 20 reviewers", _labelled(some, mixed, [*np.where(is_eve, EVE, names)]))
    yield Attack("20 honest reviewers", _labelled(some, some["code"], names))
    # Nobody else labels, so there is nobody to compare the attacker with.
    yield Attack("reviewer taken over, alone", by_eve)
    yield Attack("trusted client, alone", by_eve, Role.CLIENT, is_trusted=True)
    yield Attack("500 of one category, alone", targeted, target=target)


def neighbours(champion: Trained, rows: pd.DataFrame) -> dict[int, int]:
    """Return the category with which the champion confuses each one most."""
    scores, codes = champion.scores(rows), rows["code"].to_numpy()
    nearest = {}
    for code in sorted(set(codes.tolist())):
        mean = scores[codes == code].mean(axis=0)
        nearest[code] = int(champion.codes[np.where(champion.codes == code, -1, mean).argmax()])
    return nearest


def _labelled(rows: pd.DataFrame, labels: pd.Series, authors: Sequence[str]) -> pd.DataFrame:
    return rows.assign(label=labels.astype(int), author=authors)
