"""Add the random chance of reviews and indexes for jobs by status and time."""

import sqlalchemy as sa
from alembic import op


revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

IS_NOT_DONE = sa.text("status != 'done'")
IS_FINISHED = sa.text('finished_at IS NOT NULL')


def upgrade() -> None:
    """Apply the revision."""
    with op.batch_alter_table('reviews', schema=None) as batch_op:
        batch_op.add_column(sa.Column('random_chance', sa.Double(), nullable=True))
    # All answers of a day have the same random chance, and an answer that no model doubted has no
    # other chance: so the lowest chance of the day equals the random chance, or slightly exceeds it.
    op.execute(
        'UPDATE reviews SET random_chance = (SELECT min(other.chance) FROM reviews AS other '
        'WHERE other.chosen_at = reviews.chosen_at)'
    )
    # Labels are found by their time, which was not stored for the earliest ones.
    op.execute(
        'UPDATE jobs SET labelled_at = coalesce(finished_at, created_at) '
        'WHERE label IS NOT NULL AND labelled_at IS NULL'
    )
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_index('ix_jobs_finished_at')
        for column in ('release', 'status'):
            batch_op.create_index(
                f'ix_jobs_{column}_finished_at',
                [column, 'finished_at'],
                unique=False,
                sqlite_where=IS_FINISHED,
                postgresql_where=IS_FINISHED,
            )
        batch_op.drop_index('ix_jobs_catalog_id_status')
        for column in ('catalog_id', 'user_id'):
            batch_op.create_index(
                f'ix_jobs_{column}_status',
                [column, 'status', 'id'],
                unique=False,
                sqlite_where=IS_NOT_DONE,
                postgresql_where=IS_NOT_DONE,
            )


def downgrade() -> None:
    """Revert the revision."""
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_index('ix_jobs_user_id_status')
        batch_op.drop_index('ix_jobs_catalog_id_status')
        batch_op.create_index(
            'ix_jobs_catalog_id_status',
            ['catalog_id', 'status'],
            unique=False,
            sqlite_where=IS_NOT_DONE,
            postgresql_where=IS_NOT_DONE,
        )
        for column in ('release', 'status'):
            batch_op.drop_index(f'ix_jobs_{column}_finished_at')
        batch_op.create_index('ix_jobs_finished_at', ['finished_at'], unique=False)

    with op.batch_alter_table('reviews', schema=None) as batch_op:
        batch_op.drop_column('random_chance')
