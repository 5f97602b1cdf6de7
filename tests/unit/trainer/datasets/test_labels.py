"""Labels as people have them: texts, codes and paths, with codes that stay."""

import pandas as pd
import pytest

from shared.categories import FIRST_MADE_CODE
from trainer.datasets.labels import Labels, read_labels, separator_of


def read(*cells: str, known: dict[int, str] | None = None) -> Labels:
    series = pd.Series([*cells], dtype=str)
    lines = pd.Series(range(2, len(cells) + 2))
    return read_labels(series, known or {}, "products.csv", "Rayon", lines)


def codes(labels: Labels) -> dict[str, int]:
    return {name: code for code, name in labels.names.items()}


def found(labels: Labels) -> dict[str, tuple[int, ...]]:
    return {finding.code: finding.lines for finding in labels.findings}


def test_texts_get_codes_beyond_those_of_shops() -> None:
    labels = read("Chaussures", "Sacs", "Chaussures")
    first, second, third = labels.codes
    assert first == third != second
    assert FIRST_MADE_CODE <= min(first, second) <= max(first, second) < 1_000_000_000
    assert labels.names == {first: "Chaussures", second: "Sacs"}
    assert found(labels) == {}


def test_codes_of_texts_depend_on_the_text_alone() -> None:
    all_ = codes(read("Chaussures", "Sacs", "Bijoux"))
    assert codes(read("Sacs", "Montres", "sacs"))["Sacs"] == all_["Sacs"]


def test_known_names_keep_their_codes() -> None:
    labels = read("chaussures", "Bijoux", "10", known={10: "Chaussures", 7: "Sacs"})
    assert labels.codes.tolist()[::2] == [10, 10]
    assert labels.names[10] == "Chaussures"
    assert list(labels.names.values()) == ["Chaussures", "Bijoux"]


def test_code_that_another_label_has_is_not_made_again() -> None:
    made = codes(read("Chaussures", "Sacs"))["Chaussures"]
    labels = read("Chaussures", "Sacs", known={made: "Bijoux"})
    assert codes(labels)["Chaussures"] == made + 1


def test_other_spellings_are_one_label_and_a_finding_says_so() -> None:
    labels = read("Été", "Hiver", "été ", "Été", "ETE")
    assert labels.codes.nunique() == 2
    assert set(labels.names.values()) == {"Été", "Hiver"}
    [finding] = labels.findings
    assert (finding.code, finding.severity) == ("label_spellings", "warning")
    assert (finding.count, finding.rows, finding.lines) == (2, (2, 4), (4, 6))
    assert "'été' as 'Été'" in finding.message


def test_spelling_that_differs_from_the_version_before_is_found() -> None:
    labels = read("chaussures", "sacs", known={10: "Chaussures", 20: "sacs"})
    assert found(labels) == {"label_spellings": (2,)}


def test_column_of_codes_stays_one() -> None:
    labels = read("10", " 20 ", "10.0", "007")
    assert labels.codes.tolist() == [10, 20, 10, 7]
    assert labels.names == {7: "007"}
    assert labels.findings == ()


def test_text_in_a_column_of_codes_is_an_error_unless_it_is_a_known_name() -> None:
    labels = read("10", "20", "dix", "Livres", known={10: "Livres"})
    assert labels.codes.to_dict() == {0: 10, 1: 20, 3: 10}
    [finding] = labels.findings
    assert (finding.code, finding.severity, finding.lines) == ("labels_not_integers", "error", (4,))
    assert "Received: 'dix' in line 4 (row 2), 1 in total" in finding.message


@pytest.mark.parametrize("empty", ["", "  ", "NULL", "n/a", "\u200b", "&nbsp;"])
@pytest.mark.parametrize("others", [("10", "20"), ("Sacs", "Bijoux")])
def test_row_without_a_label_is_left_out(empty: str, others: tuple[str, str]) -> None:
    labels = read(others[0], empty, others[1])
    assert labels.codes.index.tolist() == [0, 2]
    [finding] = labels.findings
    assert (finding.code, finding.severity, finding.lines) == ("unlabelled_rows", "warning", (3,))


@pytest.mark.parametrize(
    ("names", "separator"),
    [
        (["Maison > Literie", "Maison > Draps", "Jeux"], ">"),
        (["Maison › Literie", "Maison » Draps"], ">"),
        (["Maison/Literie", "Maison/Draps", "Jeux/Cartes", "Jeux/Dés"], "/"),
        (["Maison | Literie", "Maison | Draps"], "|"),
        (["CD/DVD", "Jeux/Jouets", "Livres", "Maison"], ""),
        (["CD/DVD", "Bébé / Puériculture"], ""),
        (["Chaussures", "Sacs"], ""),
        (["Écrans > 24 pouces", "Livres", "Jeux"], ""),
        (["Maison", "Maison > Draps"], ">"),
        ([], ""),
    ],
)
def test_separator_is_what_the_labels_share_parents_by(names: list[str], separator: str) -> None:
    assert separator_of(names) == separator
