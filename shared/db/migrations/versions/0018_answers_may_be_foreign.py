"""Mark answers to products that seem to belong to none of the categories."""

import sqlalchemy as sa
from alembic import op


revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.add_column('jobs', sa.Column('is_foreign', sa.Boolean(), nullable=True))
    op.create_index(
        'ix_jobs_catalog_id_foreign',
        'jobs',
        ['catalog_id', 'confidence', 'prdtypecode', 'label'],
        sqlite_where=sa.text('is_foreign = 1'),
        postgresql_where=sa.text('is_foreign'),
    )


def downgrade() -> None:
    """Revert the revision."""
    op.drop_index('ix_jobs_catalog_id_foreign', table_name='jobs')
    op.drop_column('jobs', 'is_foreign')
