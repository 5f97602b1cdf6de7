"""Index the answers of a catalog by confidence."""

import sqlalchemy as sa
from alembic import op


revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None

HAS_CONFIDENCE = sa.text('confidence IS NOT NULL')


def upgrade() -> None:
    """Apply the revision."""
    op.create_index(
        'ix_jobs_catalog_id_confidence',
        'jobs',
        ['catalog_id', 'confidence', 'id', 'prdtypecode', 'label'],
        sqlite_where=HAS_CONFIDENCE,
        postgresql_where=HAS_CONFIDENCE,
    )


def downgrade() -> None:
    """Revert the revision."""
    op.drop_index('ix_jobs_catalog_id_confidence', table_name='jobs')
