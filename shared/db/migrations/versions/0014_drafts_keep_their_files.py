"""Keep the files of drafts until they are started, and recall columns by header."""

import sqlalchemy as sa
from alembic import op


revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.add_column('catalogs', sa.Column('kept_until', sa.DateTime(timezone=True), nullable=True))
    op.add_column('catalogs', sa.Column('header', sa.String(length=64), nullable=True))
    op.create_index('ix_catalogs_user_id_header', 'catalogs', ['user_id', 'header'])


def downgrade() -> None:
    """Revert the revision."""
    op.drop_index('ix_catalogs_user_id_header', table_name='catalogs')
    op.drop_column('catalogs', 'header')
    op.drop_column('catalogs', 'kept_until')
