"""The form of a label: a category of the release, or the code of a new one with a confirmation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from gateway.console.form import Mistaken, Mistakes, code_in
from gateway.quality.label_reading import CODES, new_code
from gateway.quality.schemas.labels import LabelIn
from shared.categories import CategorySet
from shared.errors import InvalidInput
from shared.tables.dataset_tables import CODE
from shared.tables.rows import SHOWN_CHARACTERS

#: Choice of the list that stands for a category which the release does not have.
ANOTHER = "new"
#: Fields of the form. `current` is the label that the page showed.
FIELDS = (CODE, "current", "new_code", "is_new")


@dataclass(frozen=True)
class LabelForm:
    """The texts of the form, as sent or as first shown."""

    choice: str
    current: str = ""
    new_code: str = ""
    is_new: bool = False

    @classmethod
    def of(cls, sent: Mapping[str, object]) -> Self:
        """Return the form that a browser sent."""
        choice, current, code, confirmed = (str(sent.get(name, "")) for name in FIELDS)
        return cls(choice, current, code.strip(), confirmed == "yes")

    @property
    def is_unchanged(self) -> bool:
        """True if the label stays, which may be a category that the release does not have."""
        return bool(self.choice) and self.choice == self.current

    @property
    def is_another(self) -> bool:
        """True for a category that the release does not have."""
        return self.choice == ANOTHER

    def new_label(self, known: CategorySet) -> LabelIn:
        """Return the label with a new category.

        Args:
            known: The categories of the release.

        Raises:
            Mistaken: The code is missing, invalid or one of the release, or is not confirmed.
        """
        return LabelIn(prdtypecode=self._new_code(known), new_category=True)

    def listed_label(self) -> LabelIn:
        """Return the label that was chosen from the list. Raises `InvalidInput`."""
        code = code_in(self.choice)
        if self.choice and code is None:
            shown = repr(self.choice[:SHOWN_CHARACTERS])
            raise InvalidInput(
                f"Expected a category of the release. Received: {shown}", field=(CODE,)
            )
        return LabelIn(prdtypecode=code)

    def _new_code(self, known: CategorySet) -> int:
        code = new_code(self.new_code)
        wrong = {}
        if not self.new_code:
            wrong["new_code"] = "Expected a value. Received: none"
        elif code is None:
            shown = repr(self.new_code[:SHOWN_CHARACTERS])
            wrong["new_code"] = f"Expected a code from 0 to {CODES - 1}. Received: {shown}"
        elif code in known:
            received = f"{code}, {known.name(code)}"
            wrong["new_code"] = f"Expected a code that the release lacks. Received: {received}"
        if not self.is_new:
            wrong["is_new"] = "Expected the confirmation that the category is new. Received: none"
        if wrong or code is None:
            raise Mistaken(Mistakes(fields=wrong))
        return code
