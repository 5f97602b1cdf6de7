"""Wrong labels of one account do not reach the training data, or only a limited number of them."""

from pathlib import Path

from shared.db.models import Role
from tests.support.label_attack import harvest


def test_labels_of_untrusted_clients_do_not_train(tmp_path: Path) -> None:
    found = harvest(tmp_path, labels=500, rows=1_000)
    assert (found.rows, found.poisoned) == (1_000, 0)


def test_labels_of_a_trusted_client_are_limited_and_never_test(tmp_path: Path) -> None:
    found = harvest(tmp_path, labels=500, rows=1_000, labels_trusted=True)
    assert 90 <= found.poisoned <= 100
    assert found.poisoned_test == 0


def test_labels_of_a_reviewer_account_that_was_taken_over_neither_train_nor_test(
    tmp_path: Path,
) -> None:
    found = harvest(tmp_path, labels=500, rows=1_000, role=Role.OPERATOR, honest=100)
    assert (found.rows, found.poisoned) == (1_100, 0)


def test_labels_of_a_trusted_client_who_disagrees_with_the_model_do_not_train(
    tmp_path: Path,
) -> None:
    found = harvest(tmp_path, labels=500, rows=1_000, labels_trusted=True, honest=100)
    assert (found.rows, found.poisoned) == (1_100, 0)
