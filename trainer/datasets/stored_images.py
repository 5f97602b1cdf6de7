"""Images of a dataset in the storage: each once for all versions, by content."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pandas as pd

from shared.db.datasets import images_folder
from shared.errors import InvalidInput, NotFound
from shared.skipping import skipping
from shared.storage import Storage
from trainer.datasets.images import is_readable, read_image


@dataclass(frozen=True)
class StoredImages:
    """Adds images to those of a dataset.

    Attributes:
        name: Name of the dataset.
        on_progress: Called before each row; an exception aborts.
    """

    storage: Storage
    name: str
    on_progress: Callable[[], None]
    _copied: dict[str, str] = field(default_factory=dict)

    def add(self, rows: pd.DataFrame) -> tuple[list[str], pd.Index]:
        """Store the rows' images; return their hashes and the rows with unreadable images."""
        # An image that many rows reference is read and stored once.
        stored = {"": ""}
        for reference in rows["image"]:
            self.on_progress()
            if reference not in stored:
                stored[reference] = self._add_readable(reference)
        hashes = [stored[reference] for reference in rows["image"]]
        is_broken = (rows["image"] != "") & (pd.Series(hashes, rows.index, dtype=object) == "")
        return hashes, rows.index[is_broken]

    def copied(self, uri: str) -> str:
        """Copy a job's image once and return its hash; empty if it was deleted."""
        self.on_progress()
        if uri not in self._copied:
            self._copied[uri] = ""
            with skipping("dataset", uri), suppress(NotFound):
                self._copied[uri] = self._put(self.storage.get(uri))
        return self._copied[uri]

    def _add_readable(self, reference: str) -> str:
        """Store an uploaded image and return its hash; empty if it cannot be read."""
        content = None
        with skipping("dataset", reference), suppress(NotFound, InvalidInput):
            content = read_image(reference) if is_readable(reference) else None
        return "" if content is None else self._put(content)

    def _put(self, content: bytes) -> str:
        return self.storage.put(images_folder(self.name), content).rpartition("/")[2]
