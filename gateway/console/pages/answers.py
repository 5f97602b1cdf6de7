"""The answers of a catalog: a list to filter, sort and label, and the precision dial."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Response
from starlette.datastructures import FormData, QueryParams

from gateway.api import jobs
from gateway.api.answers import catalog_answers as api
from gateway.api.answers.accepting import precision_of
from gateway.api.catalogs import found_catalog, shown_catalog
from gateway.catalogs.output.answers import Filter, LabelState, Sort
from gateway.catalogs.output.schemas import AnswerPage
from gateway.catalogs.output.text_search import LONGEST
from gateway.console.catalog_tabs import CATALOGS, path_of, tab_page
from gateway.console.form import Mistakes, code_in, fields
from gateway.console.percent import percent_of
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from gateway.quality.precision.dial import Precision
from gateway.quality.schemas.labels import LabelIn
from shared.categories import Category
from shared.db.models import JobStatus
from shared.errors import Conflict, InvalidInput, NotFound, Unavailable

#: Rows on a page.
SHOWN = 50
#: Target precision of a page that states none, in percent.
TARGET = 98.0
#: Pixels of the thumbnails.
PIXELS = 96
_YES_OR_NO = {"yes": True, "no": False}
#: Parameters of the address that keep the list as it is.
KEPT = (
    "text",
    "category",
    "min",
    "max",
    "status",
    "label",
    "accepted",
    "foreign",
    "target",
    "by",
    "sort",
    "cursor",
)

router = APIRouter(prefix=f"{CONSOLE}{CATALOGS}", include_in_schema=False)


@dataclass(frozen=True)
class View:
    """Filters in the address of the page; parameters that make no sense are left out."""

    text: str
    category: int | None
    min: float | None
    max: float | None
    status: JobStatus | None
    label: LabelState | None
    accepted: bool | None
    foreign: bool | None
    target: float
    by_category: bool
    sort: Sort
    cursor: str | None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "View":
        """Return the view of an address."""
        status, label, sort = (query.get(name, "") for name in ("status", "label", "sort"))
        return cls(
            text=query.get("text", "").strip()[:LONGEST].replace("\x00", ""),
            category=code_in(query.get("category", "")),
            min=percent_of(query.get("min", "")),
            max=percent_of(query.get("max", "")),
            status=JobStatus(status) if status in tuple(JobStatus) else None,
            label=next((one for one in get_args(LabelState) if one == label), None),
            accepted=_YES_OR_NO.get(query.get("accepted", "")),
            foreign=_YES_OR_NO.get(query.get("foreign", "")),
            target=percent_of(query.get("target", "")) or TARGET,
            by_category=query.get("by") == "category",
            sort=next((one for one in get_args(Sort) if one == sort), "row"),
            cursor=query.get("cursor") or None,
        )

    @property
    def filter(self) -> Filter:
        """The filter of the list."""
        return Filter(
            self.status,
            self.category,
            None if self.min is None else round(self.min / 100, 6),
            None if self.max is None else round(self.max / 100, 6),
            self.text,
            self.label,
            self.accepted,
            self.foreign,
        )

    @property
    def is_filtered(self) -> bool:
        """True if the list may lack rows."""
        return self.filter != Filter()


@router.get("/{catalog_id}/answers")
def show(visit: SignedVisit, catalog_id: str, labelled: str = "") -> Response:
    """Show a page of answers, and what is accepted for the target precision."""
    return _page(visit, catalog_id, View.of(visit.request.query_params), labelled=labelled)


@router.post("/{catalog_id}/answers/label")
def label(
    visit: SignedVisit,
    catalog_id: str,
    form: Annotated[FormData, Depends(fields("job_id", "category", "act", "back"))],
) -> Response:
    """Set or remove the true category of a row, and return to the same list."""
    job_id, back = str(form.get("job_id", "")), QueryParams(str(form.get("back", "")))
    shown_catalog(visit.services, visit.user, catalog_id)
    kept = {name: back[name] for name in KEPT if name in back}
    try:
        jobs.label(visit.services, visit.user, visit.origin, job_id, _label(form))
    except (InvalidInput, Conflict) as error:
        wrong = Mistakes(fields={job_id: error.detail})
        typed = str(form.get("category", ""))
        return _page(
            visit, catalog_id, View.of(kept), error.status, mistakes=wrong, typed=typed, kept=kept
        )
    away = visit.go(path_of(catalog_id, "/answers"), **kept, labelled=job_id)
    away.headers["location"] += f"#row-{job_id}"
    return away


def _label(form: FormData) -> LabelIn:
    """Return the label that a form stands for. Raises `InvalidInput`."""
    if form.get("act") == "remove":
        return LabelIn(prdtypecode=None)
    category = str(form.get("category", "")).strip()
    if not category:
        raise InvalidInput("Expected a category. Received: none")
    return LabelIn(category=category[:1_000])


def _page(
    visit: Visit, catalog_id: str, view: View, status_code: int = 200, **changes: Any
) -> Response:
    services = visit.services
    catalog = found_catalog(services, visit.user, catalog_id)
    found = precision_of(services, catalog, view.target / 100, by_category=view.by_category)
    page = _list(visit, catalog_id, view, found)
    categories = _categories(visit, catalog.release)
    query = changes.pop("kept", None) or {
        name: value for name, value in visit.request.query_params.items() if name in KEPT
    }
    context: dict[str, Any] = {
        "view": view,
        "answers": page.items,
        "following": page.next_cursor,
        "precision": api.precision_out(services, catalog, found),
        "counted": api.list_categories(services, visit.user, catalog_id).items,
        "categories": categories,
        "names": {one.code: one.name for one in categories},
        "kept": {name: value for name, value in query.items() if value},
        "pixels": PIXELS,
        "mistakes": Mistakes(),
        "labelled": "",
        "typed": "",
    }
    return tab_page(
        visit, catalog_id, "catalog_answers.html", status_code, **{**context, **changes}
    )


def _list(visit: Visit, catalog_id: str, view: View, found: Precision) -> AnswerPage:
    """Return the page of the list; the first one if the address is of an old or other list."""
    arguments = (visit.services, catalog_id, view.filter, found.acceptance, view.sort)
    try:
        return api.answer_page(*arguments, view.cursor, SHOWN)
    except InvalidInput:
        return api.answer_page(*arguments, None, SHOWN)


def _categories(visit: Visit, release: str) -> list[Category]:
    """Return the categories of a release by name; none while it cannot be read."""
    try:
        known = visit.services.releases.manifest(release).category_set
    except (NotFound, Unavailable):
        return []
    return sorted(known.categories, key=lambda one: one.name)
