"""Store the language of an account, in which the console speaks."""

import sqlalchemy as sa
from alembic import op


revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.add_column('users', sa.Column('language', sa.String(8), nullable=True))


def downgrade() -> None:
    """Revert the revision."""
    op.drop_column('users', 'language')
