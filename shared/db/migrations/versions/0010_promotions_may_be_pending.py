"""Mark promotions that the registry has not confirmed yet."""

import sqlalchemy as sa
from alembic import op


revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.add_column(
        'promotions',
        sa.Column('is_pending', sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    """Revert the revision."""
    op.drop_column('promotions', 'is_pending')
