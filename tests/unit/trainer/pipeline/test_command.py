"""Arguments of `python -m trainer train`, which are checked before any data is read."""

from pathlib import Path

import pytest

from trainer.__main__ import main
from trainer.candidates.registry import FUSION, IMAGES, ON_REQUEST_IMAGES, STUDENTS, TEXT
from trainer.pipeline import command


class DataRead(Exception):
    """The data was read."""


@pytest.fixture(autouse=True)
def data_is_read_last(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise DataRead

    monkeypatch.setattr(command, "load", load)


def train(tmp_path: Path, *arguments: str) -> int:
    return main(["train", str(tmp_path), "--out", str(tmp_path / "release"), *arguments])


def test_unknown_candidate_is_refused_with_the_list_of_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "--candidates", "text_ngrams", "text_ngram", "fusion_maen") == 1
    error = capsys.readouterr().err
    assert error.endswith("Received: text_ngram, fusion_maen\n")
    names = [
        *(one.name for one in (*TEXT, *STUDENTS)),
        *(one.name for one in (*IMAGES, *ON_REQUEST_IMAGES)),
    ]
    assert all(name in error for name in [*names, *(one.name for one in FUSION)])
    assert "image_champion" in error, "of the starter release"


def test_network_of_the_champion_is_a_candidate_only_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataRead):
        train(tmp_path, "--candidates", "image_champion")
    monkeypatch.setattr("trainer.__main__.STARTER", tmp_path / "none")
    assert train(tmp_path, "--candidates", "image_champion") == 1
    assert "Received: image_champion" in capsys.readouterr().err


@pytest.mark.parametrize("strength", ["1", "-0.1", "nan", "inf", "half"])
def test_class_balance_outside_its_range_is_refused(
    strength: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        train(tmp_path, f"--class-balance={strength}")
    assert refused.value.code == 2
    expected = f"Expected a number from 0 to below 1. Received: {strength}"
    assert f"argument --class-balance: {expected}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--lineup", "--arithmetic", "--storage"])
def test_wrong_choice_is_refused_with_the_list(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        train(tmp_path, option, "none")
    assert refused.value.code == 2
    error = capsys.readouterr().err
    assert f"argument {option}: invalid choice: 'none' (choose from " in error


def test_right_arguments_are_followed_by_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataRead):
        train(tmp_path, "--candidates", "text_ngrams", "--class-balance", "0.99", "--lineup=quick")
