"""Add drift windows, alerts, performance, reports and single sign-on."""

import sqlalchemy as sa
from alembic import op


revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table('drift_windows',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('measured_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('release', sa.String(length=32), nullable=False),
    sa.Column('rows', sa.Integer(), nullable=False),
    sa.Column('begins_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('moved', sa.JSON(), nullable=False),
    sa.Column('measured', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_drift_windows'))
    )
    op.create_table('performance',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('measured_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('release', sa.String(length=32), nullable=False),
    sa.Column('modality', sa.String(length=16), nullable=False),
    sa.Column('begins_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('rows', sa.Integer(), nullable=False),
    sa.Column('f1', sa.Double(), nullable=False),
    sa.Column('low', sa.Double(), nullable=True),
    sa.Column('high', sa.Double(), nullable=True),
    sa.Column('past_error', sa.Double(), nullable=True),
    sa.Column('classes', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_performance'))
    )
    with op.batch_alter_table('performance', schema=None) as batch_op:
        batch_op.create_index('ix_performance_kind_measured_at', ['kind', 'measured_at'], unique=False)

    op.create_table('reports',
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('made_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('verdict', sa.String(length=16), nullable=False),
    sa.Column('document', sa.JSON(), nullable=False),
    sa.Column('page', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('month', name=op.f('pk_reports'))
    )
    op.create_table('drift_alerts',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('raised_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('source', sa.String(length=16), nullable=False),
    sa.Column('raised_by', sa.String(length=64), nullable=False),
    sa.Column('kind', sa.String(length=32), nullable=False),
    sa.Column('release', sa.String(length=32), nullable=True),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('summary', sa.Text(), nullable=False),
    sa.Column('details', sa.JSON(), nullable=False),
    sa.Column('training_run_id', sa.String(length=36), nullable=True),
    sa.Column('steps', sa.JSON(), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['training_run_id'], ['training_runs.id'], name=op.f('fk_drift_alerts_training_run_id_training_runs'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_drift_alerts'))
    )
    with op.batch_alter_table('drift_alerts', schema=None) as batch_op:
        batch_op.create_index('uq_drift_alerts_unfinished', ['fingerprint'], unique=True, sqlite_where=sa.text('ended_at IS NULL'), postgresql_where=sa.text('ended_at IS NULL'))
        batch_op.create_index(batch_op.f('ix_drift_alerts_status'), ['status'], unique=False)
        batch_op.create_index(batch_op.f('ix_drift_alerts_training_run_id'), ['training_run_id'], unique=False)

    op.create_table('reviews',
    sa.Column('job_id', sa.String(length=36), nullable=False),
    sa.Column('chosen_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('reason', sa.String(length=16), nullable=False),
    sa.Column('chance', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_reviews_job_id_jobs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('job_id', name=op.f('pk_reviews'))
    )
    with op.batch_alter_table('reviews', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_reviews_chosen_at'), ['chosen_at'], unique=False)

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('labelled_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column('labelled_by', sa.String(length=64), nullable=True))
        batch_op.create_index('ix_jobs_finished_at', ['finished_at'], unique=False)
        batch_op.create_index('ix_jobs_labelled_at', ['labelled_at'], unique=False, sqlite_where=sa.text('labelled_at IS NOT NULL'), postgresql_where=sa.text('labelled_at IS NOT NULL'))

    with op.batch_alter_table('users', schema=None) as batch_op:
        batch_op.add_column(sa.Column('identity_hash', sa.String(length=64), nullable=True))
        batch_op.create_unique_constraint(batch_op.f('uq_users_identity_hash'), ['identity_hash'])



def downgrade() -> None:
    """Revert the revision."""
    with op.batch_alter_table('users', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('uq_users_identity_hash'), type_='unique')
        batch_op.drop_column('identity_hash')

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_index('ix_jobs_labelled_at')
        batch_op.drop_index('ix_jobs_finished_at')
        batch_op.drop_column('labelled_by')
        batch_op.drop_column('labelled_at')

    with op.batch_alter_table('reviews', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_reviews_chosen_at'))

    op.drop_table('reviews')
    with op.batch_alter_table('drift_alerts', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_drift_alerts_training_run_id'))
        batch_op.drop_index(batch_op.f('ix_drift_alerts_status'))
        batch_op.drop_index('uq_drift_alerts_unfinished')

    op.drop_table('drift_alerts')
    op.drop_table('reports')
    with op.batch_alter_table('performance', schema=None) as batch_op:
        batch_op.drop_index('ix_performance_kind_measured_at')

    op.drop_table('performance')
    op.drop_table('drift_windows')
