"""Tests of paged lists: order, cursors and the last page."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from gateway.web.paging import cursor_after, fetch_page, paginate, read_cursor
from shared.db.models import Base, User, new_id
from shared.errors import InvalidInput
from tests.support.factories import make_user


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(make_user(f"user{number}") for number in range(5))
        session.flush()
        yield session


def ids(session: Session) -> list[str]:
    return sorted(session.scalars(select(User.id)), reverse=True)


def test_pages_hold_every_row_once_with_the_newest_first(session: Session) -> None:
    seen: list[list[str]] = []
    cursor: str | None = None
    while not seen or cursor is not None:
        users, cursor = paginate(session, select(User), User.id, cursor, 2)
        seen.append([user.id for user in users])
    assert [len(page) for page in seen] == [2, 2, 1]
    assert [id_ for page in seen for id_ in page] == ids(session)


def test_full_last_page_has_no_cursor(session: Session) -> None:
    users, cursor = paginate(session, select(User), User.id, None, 5)
    assert ([user.id for user in users], cursor) == (ids(session), None)


def test_conditions_of_the_query_hold_on_every_page(session: Session) -> None:
    some = select(User).where(User.username != "user2")
    first, cursor = paginate(session, some, User.id, None, 3)
    rest, end = paginate(session, some, User.id, cursor, 3)
    names = {user.username for user in [*first, *rest]}
    assert (names, end) == ({"user0", "user1", "user3", "user4"}, None)


def test_empty_result_is_a_page_without_cursor(session: Session) -> None:
    nobody = select(User).where(User.username == "nobody")
    assert paginate(session, nobody, User.id, None, 2) == ([], None)


def test_rows_of_several_columns_are_fetched_in_the_order_of_the_query(session: Session) -> None:
    query = select(User.username, User.role).order_by(User.username)
    rows, has_more = fetch_page(session, query, 2)
    assert ([row.username for row in rows], has_more) == (["user0", "user1"], True)
    rows, has_more = fetch_page(session, query, 5)
    assert (len(rows), has_more) == (5, False)


def test_cursor_round_trips_the_row_id() -> None:
    row_id = new_id()
    assert read_cursor(cursor_after(row_id)) == row_id


@pytest.mark.parametrize("cursor", ["x", "é", "bm90IGFuIGlk"])
def test_unknown_cursor_is_invalid_input(session: Session, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="Expected a `next_cursor`"):
        paginate(session, select(User), User.id, cursor, 2)
