"""Products that were answered lately, for a training to learn from without labels."""

import json
from pathlib import Path

from sqlalchemy import select

from shared.db.models import Job, JobStatus
from shared.db.session import UnitOfWork
from shared.files import atomic_write


def write_recent_answers(unit_of_work: UnitOfWork, most: int, path: Path) -> int:
    """Write the newest answered products with a text and without a label; return their number.

    Those that seem to belong to none of the categories are left out.

    The file has a JSON line for each: `designation`, `description` and `answered_at`, in seconds
    since the epoch. It lies with the run and is deleted with the training: no product is kept
    longer than retention allows.

    Raises:
        Unavailable: The database does not answer.
    """
    query = (
        select(Job.designation, Job.description, Job.finished_at)
        .where(
            Job.status == JobStatus.DONE.value,
            Job.finished_at.is_not(None),
            Job.label.is_(None),
            Job.is_foreign.is_not(True),
            (Job.designation != "") | (Job.description != ""),
        )
        # IDs grow with time and are indexed; by the time of the answer, all jobs would be sorted.
        .order_by(Job.id.desc())
        .limit(most)
    )
    with unit_of_work.reading() as session:
        rows = session.execute(query).all()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            line = {
                "designation": row.designation,
                "description": row.description,
                "answered_at": row.finished_at.timestamp(),
            }
            file.write(json.dumps(line) + "\n")
    return len(rows)
