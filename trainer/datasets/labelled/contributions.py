"""Authors of labels: whose labels a dataset version contains, and how many of one author.

A person's mistake, or malice, must not decide what a release learns. So only trusted authors count
(`shared.lifecycle.label_trust`), each with a limited share of the training rows, and the rows that
test a release never come from clients.
"""

import hashlib
from collections.abc import Mapping

import pandas as pd

from trainer.datasets.findings import LabelShare
from trainer.datasets.labelled.authors import Author, LabelLimits

#: Rows of one author that are never cut: on a small dataset, the share would leave a sole reviewer
#: nothing to teach.
ALWAYS_KEPT = 100
#: Author of rows that an older trainer imported from jobs, until it is looked up.
UNKNOWN = "?"


def is_of_untrusted(rows: pd.DataFrame, authors: Mapping[str, Author]) -> pd.Series:
    """Return a mask of the rows whose label comes from an account that is not trusted (any more).

    Args:
        rows: Table with `labelled_by`, the id of an account; empty for a row of an uploaded file.
        authors: Trusted accounts by id.
    """
    return (rows["labelled_by"] != "") & ~rows["labelled_by"].isin(list(authors))


def is_client_test(rows: pd.DataFrame, authors: Mapping[str, Author]) -> pd.Series:
    """Return a mask of the test rows with labels of clients.

    Test rows decide on promotions. A client whose labels took part in them could let the release
    win that learnt the same wrong labels.
    """
    return (rows["split"] == "test") & is_of_client(rows, authors)


def is_of_client(rows: pd.DataFrame, authors: Mapping[str, Author]) -> pd.Series:
    """Return a mask of the rows with labels of clients."""
    clients = [author.id for author in authors.values() if not author.is_reviewer]
    return rows["labelled_by"].isin(clients)


def is_above_limit(rows: pd.DataFrame, limits: LabelLimits) -> pd.Series:
    """Return a mask of the rows to leave out, so that no author exceeds the limits.

    The rows that stay are drawn by a hash of their ids: the same ones every time, and nobody can
    choose them by the order of the labels.
    """
    is_trained = rows["split"] != "test"
    labelled = rows[is_trained & (rows["labelled_by"] != "")]
    allowed = _allowed(labelled["labelled_by"].value_counts(), int(is_trained.sum()), limits)
    digests = labelled["id"].map(lambda id_: hashlib.sha256(str(id_).encode()).hexdigest())
    rank = digests.groupby(labelled["labelled_by"]).rank(method="first")
    is_above = pd.Series(False, rows.index)
    is_above[labelled.index] = rank > labelled["labelled_by"].map(allowed)
    return is_above


def label_shares(authors: pd.Series, names: Mapping[str, str]) -> tuple[LabelShare, ...]:
    """Return the number and share of rows by the author of their label, most first.

    Args:
        authors: Id of the author of each row; empty for rows of uploaded files, which count in the
            share but are not listed.
        names: Usernames by id.
    """
    counts = authors[authors != ""].value_counts()
    shares = [
        LabelShare(
            user=names.get(str(id_), str(id_)),
            user_id=str(id_),
            rows=int(count),
            share=round(int(count) / len(authors), 6),
        )
        for id_, count in counts.items()
    ]
    return tuple(sorted(shares, key=lambda share: (-share.rows, share.user)))


def _allowed(counts: pd.Series, total: int, limits: LabelLimits) -> dict[str, int]:
    """Return the number of rows that each author may keep."""
    counted = {str(id_): int(count) for id_, count in counts.items()}
    unlabelled = total - sum(counted.values())
    allowed = {id_: min(count, limits.rows) for id_, count in counted.items()}
    while True:
        # Each row that is cut also lowers what the share allows, until nothing changes any more.
        rows = unlabelled + sum(allowed.values())
        most = max(min(ALWAYS_KEPT, limits.rows), int(limits.share * rows))
        lowered = {id_: min(count, most) for id_, count in allowed.items()}
        if lowered == allowed:
            return allowed
        allowed = lowered
