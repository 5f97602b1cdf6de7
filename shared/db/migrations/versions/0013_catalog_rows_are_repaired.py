"""Keep the repairs of catalog rows, and how far a run of repaired rows has come."""

import sqlalchemy as sa
from alembic import op


revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None

HAS_IMAGE = sa.text('image_uri IS NOT NULL')


def upgrade() -> None:
    """Apply the revision."""
    op.create_table('catalog_row_repairs',
    sa.Column('catalog_id', sa.String(length=36), nullable=False),
    sa.Column('row', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('code', sa.String(length=32), nullable=False),
    sa.Column('cells', sa.JSON(), nullable=False),
    sa.Column('joined_cells', sa.JSON(), nullable=False),
    sa.Column('joined_image_uri', sa.String(length=255), nullable=True),
    sa.Column('designation', sa.Text(), nullable=False),
    sa.Column('description', sa.Text(), nullable=False),
    sa.Column('image_name', sa.Text(), nullable=False),
    sa.Column('image_uri', sa.String(length=255), nullable=True),
    sa.Column('image_bytes', sa.Integer(), nullable=True),
    sa.Column('is_ready', sa.Boolean(), nullable=False),
    sa.Column('is_joined', sa.Boolean(), nullable=False),
    sa.Column('uses_image', sa.Boolean(), nullable=False),
    sa.Column('lacks_image', sa.Boolean(), nullable=False),
    sa.Column('problem', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['catalog_id'], ['catalogs.id'], name=op.f('fk_catalog_row_repairs_catalog_id_catalogs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('catalog_id', 'row', name=op.f('pk_catalog_row_repairs'))
    )
    op.create_index(
        'ix_catalog_row_repairs_image_uri',
        'catalog_row_repairs',
        ['image_uri'],
        sqlite_where=HAS_IMAGE,
        postgresql_where=HAS_IMAGE,
    )
    op.add_column('catalogs', sa.Column('repaired_until', sa.Integer(), nullable=True))


def downgrade() -> None:
    """Revert the revision."""
    op.drop_column('catalogs', 'repaired_until')
    op.drop_index('ix_catalog_row_repairs_image_uri', table_name='catalog_row_repairs')
    op.drop_table('catalog_row_repairs')
