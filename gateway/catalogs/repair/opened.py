"""A catalog whose rows can be listed and repaired: its table, its rejected rows and its jobs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.catalogs.products import form_in
from gateway.catalogs.repair.changed_rows import columns_of
from gateway.catalogs.repair.rejected_rows import RejectedRow, rejected_rows, rows_numbered
from gateway.catalogs.row_check import Terms
from gateway.catalogs.service import find, is_checked, table_of
from gateway.identity.principal import Principal
from gateway.settings import CatalogSettings
from shared.db.models import Catalog, CatalogRowRepair, CatalogStatus, Job, row_job_id, row_of_job
from shared.db.session import UnitOfWork
from shared.errors import Conflict
from shared.storage import Storage
from shared.tables.form import Form
from shared.tables.rows import Row


@dataclass(frozen=True)
class Repairs:
    """Services and limits of the gateway that repairs use.

    Attributes:
        unit_of_work: Opens transactions.
        storage: Holds the tables and images.
        settings: Limits of catalogs.
        max_characters: Longest accepted title, and longest accepted description.
        max_image_bytes: Size above which an image is refused.
    """

    unit_of_work: UnitOfWork
    storage: Storage
    settings: CatalogSettings
    max_characters: int
    max_image_bytes: int

    def terms_of(self, catalog: Catalog) -> Terms:
        """Return the requirements on the rows of a catalog."""
        return Terms(catalog.model, self.max_characters, self.settings.max_rows)

    @contextmanager
    def opened(self, principal: Principal, catalog_id: str) -> Iterator["Opened"]:
        """Open a checked catalog of a user.

        Raises:
            NotFound: The user has no such catalog.
            Conflict: It is being checked, was refused, or its files have been deleted.
            Unavailable: The database or the storage does not answer.
        """
        with self.unit_of_work.reading() as session:
            catalog = find(session, principal, catalog_id)
        _require_rows(catalog)
        with ExitStack() as files:
            products = files.enter_context(self.storage.open(table_of(catalog.id, catalog.report)))
            form = form_in(products, catalog.report)
            yield Opened(self, catalog, products, form, files)


@dataclass(frozen=True)
class Opened:
    """A catalog with its open table.

    Attributes:
        repairs: What repairs need of the gateway.
        catalog: The catalog when it was opened.
        products: Its table, as plain text.
        form: Form of the table.
        files: Closes the files.
    """

    repairs: Repairs
    catalog: Catalog
    products: BinaryIO
    form: Form
    files: ExitStack

    @property
    def terms(self) -> Terms:
        """Requirements on the rows."""
        return self.repairs.terms_of(self.catalog)

    @property
    def columns(self) -> list[str]:
        """Columns of the table, by which cells are changed."""
        return columns_of(self.form)

    def rejected(self) -> Iterator[RejectedRow]:
        """Read the rows that the check rejected, in the order of the table."""
        return rejected_rows(
            self.repairs.storage,
            self.catalog,
            self.products,
            self.form,
            self.terms,
            self.files,
        )

    def rows(self, numbers: set[int]) -> dict[int, Row]:
        """Return rows of the table by number."""
        return rows_numbered(self.products, self.form, numbers)

    def saved(self, session: Session, numbers: Sequence[int]) -> dict[int, CatalogRowRepair]:
        """Return the repairs of some rows by number."""
        query = select(CatalogRowRepair).where(
            CatalogRowRepair.catalog_id == self.catalog.id, CatalogRowRepair.row.in_(numbers)
        )
        return {one.row: one for one in session.scalars(query)}

    def jobs(self, session: Session, numbers: Sequence[int]) -> dict[int, Job]:
        """Return the jobs of some rows by number."""
        ids = [row_job_id(self.catalog.id, number) for number in numbers]
        query = select(Job).where(Job.id.in_(ids))
        return {row_of_job(job.id): job for job in session.scalars(query)}


def require_repairable(catalog: Catalog) -> None:
    """Check that the rows of a catalog can be changed. Raises `Conflict`."""
    if catalog.dry_run:
        raise Conflict("A dry run has no rows to repair: nothing is classified")
    if catalog.status == CatalogStatus.FAILED.value:
        raise Conflict("The catalog failed as a whole. Send it as a new catalog")
    _require_rows(catalog)


def _require_rows(catalog: Catalog) -> None:
    if catalog.status == CatalogStatus.VALIDATING.value:
        raise Conflict("The catalog is still being checked")
    if not is_checked(catalog):
        raise Conflict(f"The catalog has no rows: {catalog.error_message or catalog.status}")
    if catalog.size == 0:
        raise Conflict("The file of this catalog has been deleted. Send it as a new catalog")
