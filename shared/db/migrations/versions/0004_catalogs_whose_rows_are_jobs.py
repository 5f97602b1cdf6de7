"""Add catalogs, whose rows are jobs."""

import sqlalchemy as sa
from alembic import op


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table('catalogs',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('user_id', sa.String(length=36), nullable=False),
    sa.Column('trace_id', sa.String(length=32), nullable=False),
    sa.Column('name', sa.String(length=255), nullable=False),
    sa.Column('model', sa.String(length=16), nullable=False),
    sa.Column('release', sa.String(length=32), nullable=False),
    sa.Column('dry_run', sa.Boolean(), nullable=False),
    sa.Column('idempotency_key', sa.String(length=255), nullable=True),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('has_images', sa.Boolean(), nullable=False),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('leased_by', sa.String(length=128), nullable=True),
    sa.Column('leased_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('rows', sa.Integer(), nullable=False),
    sa.Column('rejected', sa.Integer(), nullable=False),
    sa.Column('fed', sa.Integer(), nullable=False),
    sa.Column('fed_until', sa.Integer(), nullable=False),
    sa.Column('retried_until', sa.Integer(), nullable=True),
    sa.Column('rows_per_second', sa.Double(), nullable=True),
    sa.Column('report', sa.JSON(), nullable=False),
    sa.Column('error_code', sa.String(length=64), nullable=True),
    sa.Column('error_message', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_catalogs_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_catalogs')),
    sa.UniqueConstraint('user_id', 'idempotency_key', name='uq_catalogs_idempotency_key')
    )
    with op.batch_alter_table('catalogs', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_catalogs_status'), ['status'], unique=False)
        batch_op.create_index('ix_catalogs_user_id_id', ['user_id', 'id'], unique=False)

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('catalog_id', sa.String(length=36), nullable=True))
        batch_op.create_index('ix_jobs_catalog_id_status', ['catalog_id', 'status'], unique=False, sqlite_where=sa.text("status != 'done'"), postgresql_where=sa.text("status != 'done'"))
        batch_op.create_foreign_key(batch_op.f('fk_jobs_catalog_id_catalogs'), 'catalogs', ['catalog_id'], ['id'], ondelete='CASCADE')


def downgrade() -> None:
    """Revert the revision."""
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_jobs_catalog_id_catalogs'), type_='foreignkey')
        batch_op.drop_index('ix_jobs_catalog_id_status', sqlite_where=sa.text("status != 'done'"), postgresql_where=sa.text("status != 'done'"))
        batch_op.drop_column('catalog_id')

    with op.batch_alter_table('catalogs', schema=None) as batch_op:
        batch_op.drop_index('ix_catalogs_user_id_id')
        batch_op.drop_index(batch_op.f('ix_catalogs_status'))

    op.drop_table('catalogs')
