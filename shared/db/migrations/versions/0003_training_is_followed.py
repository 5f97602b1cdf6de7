"""Add progress, cancellation and leases of training runs."""

import sqlalchemy as sa
from alembic import op


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    # No trainer runs during the migration, and from now on the table allows only one running row.
    op.execute("UPDATE training_runs SET status = 'queued' WHERE status = 'running'")
    with op.batch_alter_table('training_runs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('dataset', sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column('cancel_requested_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column('leased_by', sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column('attempts', sa.Integer(), server_default='0', nullable=False))
        batch_op.add_column(sa.Column('progress', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('log_tail', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('verdict', sa.JSON(), nullable=True))
        batch_op.create_index('uq_training_runs_running', ['status'], unique=True, sqlite_where=sa.text("status = 'running'"), postgresql_where=sa.text("status = 'running'"))


def downgrade() -> None:
    """Revert the revision."""
    with op.batch_alter_table('training_runs', schema=None) as batch_op:
        batch_op.drop_index('uq_training_runs_running')
        batch_op.drop_column('verdict')
        batch_op.drop_column('log_tail')
        batch_op.drop_column('progress')
        batch_op.drop_column('attempts')
        batch_op.drop_column('leased_by')
        batch_op.drop_column('cancel_requested_at')
        batch_op.drop_column('dataset')
