"""Render templates in the language of the reader."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from babel.dates import format_datetime
from babel.numbers import format_decimal, format_percent
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gateway.console.explanations import explain
from gateway.console.file_sizes import file_size
from gateway.console.languages import translations_of

FOLDER = Path(__file__).with_name("templates")


def render(template: str, language: str, context: Mapping[str, Any]) -> str:
    """Return a template as HTML. Values are escaped unless a template marks them as safe."""
    return _environment(language).get_template(template).render(context)


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined]  # of the extension
        translations_of(language), newstyle=True
    )
    environment.filters["explain"] = partial(
        explain, language=language, translations=translations_of(language)
    )
    environment.filters["number"] = partial(format_decimal, locale=language)
    environment.filters["percent"] = partial(_percent, language)
    environment.filters["size"] = partial(file_size, language)
    environment.filters["moment"] = partial(_moment, language)
    return environment


def _percent(language: str, share: float, digits: int = 0) -> str:
    """Return a share of 1 as percent; shares near 1 are not rounded up to all."""
    shown = share if share >= 1 else min(share, 1 - 0.5 * 10 ** -(digits + 2) - 1e-9)
    pattern = (
        "#,##0" + ("." + "0" * digits if digits else "") + ("\u00a0%" if language == "fr" else "%")
    )
    return format_percent(shown, format=pattern, locale=language)


def _moment(language: str, moment: datetime) -> Markup:
    """Return a time in UTC as `<time>`; a script shows it in the time zone of the browser."""
    text = format_datetime(moment, "d MMM y, HH:mm", locale=language)
    return Markup('<time datetime="{}Z">{} UTC</time>').format(
        moment.replace(tzinfo=None).isoformat(timespec="seconds"), text
    )
