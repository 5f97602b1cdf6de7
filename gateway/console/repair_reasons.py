"""Short names of the reasons why rows need a person."""

from collections.abc import Mapping

from gateway.console.languages import translations_of
from gateway.console.menu import N_

_NAMES = {
    "text_too_long": N_("Text too long"),
    "text_missing": N_("Text missing"),
    "nothing_to_classify": N_("Neither text nor image"),
    "image_missing": N_("Image missing"),
    "image_not_sent": N_("Image not sent"),
    "image_unreadable": N_("Image unreadable"),
    "cells_differ": N_("Wrong number of cells"),
    "row_too_long": N_("Row too long"),
    "quote_not_closed": N_("Quote not closed"),
    "row_unreadable": N_("Row unreadable"),
}


def reason_names(language: str) -> Mapping[str, str]:
    """Return the name of each known reason by its code."""
    translations = translations_of(language)
    return {code: translations.ugettext(name) for code, name in _NAMES.items()}
