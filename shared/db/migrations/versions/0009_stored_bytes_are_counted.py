"""Record the bytes of images, archives and datasets, and index images by user and by address."""

import sqlalchemy as sa
from alembic import op


revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

HAS_SIZE = sa.text('image_bytes IS NOT NULL')
HAS_IMAGE = sa.text('image_uri IS NOT NULL')


def upgrade() -> None:
    """Apply the revision."""
    op.add_column('jobs', sa.Column('image_bytes', sa.Integer(), nullable=True))
    op.create_index(
        'ix_jobs_user_id_image_uri',
        'jobs',
        ['user_id', 'image_uri', 'image_bytes'],
        sqlite_where=HAS_SIZE,
        postgresql_where=HAS_SIZE,
    )
    op.create_index(
        'ix_jobs_image_uri',
        'jobs',
        ['image_uri'],
        sqlite_where=HAS_IMAGE,
        postgresql_where=HAS_IMAGE,
    )
    op.add_column('catalogs', sa.Column('archive_bytes', sa.BigInteger(), nullable=True))
    # Nobody knows how much of an earlier upload was the archive, which is by far the larger part.
    op.execute('UPDATE catalogs SET archive_bytes = size WHERE has_images')
    op.add_column('dataset_versions', sa.Column('size', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Revert the revision."""
    op.drop_column('dataset_versions', 'size')
    op.drop_column('catalogs', 'archive_bytes')
    op.drop_index('ix_jobs_image_uri', table_name='jobs')
    op.drop_index('ix_jobs_user_id_image_uri', table_name='jobs')
    op.drop_column('jobs', 'image_bytes')
