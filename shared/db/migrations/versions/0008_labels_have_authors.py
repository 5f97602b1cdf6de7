"""Record the account behind each label, and whether an admin trusts an account's labels."""

import sqlalchemy as sa
from alembic import op


revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.add_column('training_runs', sa.Column('labels', sa.JSON(), nullable=True))
    op.add_column('users', sa.Column('labels_trusted', sa.Boolean(), nullable=True))
    op.add_column('jobs', sa.Column('labelled_by_id', sa.String(length=36), nullable=True))
    # An account that is younger than the label only bears the same name as the author. Labels of
    # deleted accounts stay without an author and are never trained on.
    op.execute(
        'UPDATE jobs SET labelled_by_id = ('
        'SELECT users.id FROM users WHERE users.username = jobs.labelled_by '
        'AND users.created_at <= jobs.labelled_at) '
        'WHERE labelled_at IS NOT NULL'
    )


def downgrade() -> None:
    """Revert the revision."""
    op.drop_column('jobs', 'labelled_by_id')
    op.drop_column('users', 'labels_trusted')
    op.drop_column('training_runs', 'labels')
