"""Statements of the join.

They are built once and executed without the ORM: building a statement and the ORM each take longer
than SQLite needs to execute it.
"""

from sqlalchemy import bindparam, insert, select, update

from shared.db.models import Job, JobStatus, Score

#: Columns of an answer.
_ANSWER = (
    "status",
    "finished_at",
    "prdtypecode",
    "confidence",
    "result",
    "is_foreign",
    "error_code",
    "error_message",
)
#: Locks the queued jobs of a message in the order of their IDs, so that messages cannot deadlock.
LOCK_QUEUED = (
    select(Job.id, Job.lane, Job.created_at, Job.wants_text, Job.wants_image)
    .where(
        Job.id.in_(bindparam("ids", expanding=True)),
        Job.status == JobStatus.QUEUED.value,
        Job.release == bindparam("release"),
    )
    .order_by(Job.id)
    .with_for_update()
)
SCORES = select(
    Score.job_id, Score.modality, Score.probabilities, Score.error_code, Score.error_message
).where(Score.job_id.in_(bindparam("ids", expanding=True)))
INSERT_SCORES = insert(Score)
ANSWER_JOBS = (
    update(Job)
    .where(Job.id == bindparam("job_id"))
    .values({name: bindparam(name) for name in _ANSWER})
)
