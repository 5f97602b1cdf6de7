"""Adds the console to an application."""

from fastapi import FastAPI

from gateway.console.error_pages import ErrorPages
from gateway.console.pages import (
    account,
    alerts,
    answers,
    audit_log,
    catalogs,
    failed_rows,
    home,
    importing,
    label_files,
    models,
    people,
    product,
    queues,
    repair,
    sign_in,
    static,
    style,
    uploads,
)
from gateway.console.same_origin import SameOrigin

PAGES = (
    sign_in,
    home,
    product,
    importing,
    uploads,
    repair,
    failed_rows,
    catalogs,
    answers,
    label_files,
    queues,
    alerts,
    models,
    people,
    audit_log,
    account,
    style,
    static,
)


def include_pages(app: FastAPI) -> None:
    """Add the routes of the console."""
    for page in PAGES:
        app.include_router(page.router)


def add_middleware(app: FastAPI) -> None:
    """Add what protects the console, and what shows its errors as pages."""
    app.add_middleware(SameOrigin)
    app.add_middleware(ErrorPages)
