"""Tests of the limits on concurrent large uploads."""

import pytest

from gateway.web.uploads import LARGE_BYTES, MAX_LARGE, Uploads
from shared.errors import Limited
from tests.unit.gateway.catalogs.catalog_system import send, table
from tests.unit.gateway.conftest import Api

ROWS = table(["A", "", ""])


@pytest.mark.parametrize("size", [0, LARGE_BYTES + 1])
def test_third_large_upload_of_a_user_is_refused(size: int) -> None:
    uploads = Uploads()
    with uploads.counted("ada", size):
        with uploads.counted("ada", size):
            with pytest.raises(Limited, match=f"at most {MAX_LARGE} uploads") as raised:
                uploads.counted("ada", size).__enter__()
            assert raised.value.retry_after_seconds > 0
            with uploads.counted("eve", size), uploads.counted("ada", LARGE_BYTES):
                pass
        with uploads.counted("ada", size):
            pass
    assert not uploads.large


def test_interrupted_upload_is_not_counted_any_more() -> None:
    uploads = Uploads()
    with pytest.raises(ValueError, match="broke off"), uploads.counted("ada", 0):
        raise ValueError("It broke off")
    assert not uploads.large


def test_catalog_of_unknown_size_counts_as_a_large_upload(api: Api) -> None:
    user, uploads = api.user(), api.services.catalogs.uploads
    mine = api.sign(user)
    headers = {**mine, "Content-Type": "multipart/form-data; boundary=x"}
    with uploads.counted(user.id, 0), uploads.counted(user.id, 0):
        answer = api.client.post("/v1/catalogs", headers=headers, content=iter([b"--x--"]))
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
        send(api, mine, ROWS)
    answer = api.client.post("/v1/catalogs", headers=headers, content=iter([b"--x--"]))
    assert answer.status_code == 422
