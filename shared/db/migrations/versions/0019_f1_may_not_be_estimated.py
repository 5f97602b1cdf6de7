"""Store how unlike the held-out products those of an estimate are, and estimates without an F1."""

import sqlalchemy as sa
from alembic import op


revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    with op.batch_alter_table("performance", schema=None) as batch_op:
        batch_op.add_column(sa.Column("shift", sa.JSON(), nullable=True))
        batch_op.alter_column("f1", existing_type=sa.Double(), nullable=True)


def downgrade() -> None:
    """Revert the revision. Estimates that could not be made are deleted."""
    op.execute("DELETE FROM performance WHERE f1 IS NULL")
    with op.batch_alter_table("performance", schema=None) as batch_op:
        batch_op.alter_column("f1", existing_type=sa.Double(), nullable=False)
        batch_op.drop_column("shift")
