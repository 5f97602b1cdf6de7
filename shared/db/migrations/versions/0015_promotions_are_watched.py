"""Keep the watch over the release after a promotion."""

import sqlalchemy as sa
from alembic import op


revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.add_column('promotions', sa.Column('watch', sa.JSON(), nullable=True))


def downgrade() -> None:
    """Revert the revision."""
    op.drop_column('promotions', 'watch')
