"""Keep requested reports until they are stored."""

import sqlalchemy as sa
from alembic import op


revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table('report_requests',
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('requested_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('month', name=op.f('pk_report_requests'))
    )


def downgrade() -> None:
    """Revert the revision."""
    op.drop_table('report_requests')
