"""Tests of rate limits and quotas, their headers and their refusals."""

from contextlib import suppress

import pytest
from cachetools import TTLCache
from limits.storage import MemoryStorage

from gateway.settings import RateSettings
from gateway.web.rates import Rate, Rates, shared_storage
from shared.db.models import Catalog, CatalogStatus, Job, JobStatus, User, new_catalog_id, now
from shared.errors import Limited
from shared.settings import BrokerSettings
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api

Headers = dict[str, str]


@pytest.fixture
def rate_settings(request: pytest.FixtureRequest) -> RateSettings:
    """Return limits that tests can exceed, changed by the parameter of the test."""
    changes: dict[str, int] = getattr(request, "param", {})
    return RateSettings.model_validate({"requests_per_minute": 1_000, **changes})


def submit(api: Api, headers: Headers) -> int:
    return api.client.post("/v1/jobs", headers=headers, data={"designation": "x"}).status_code


@pytest.mark.parametrize("rate_settings", [{"requests_per_minute": 3}], indirect=True)
def test_requests_are_limited_per_user(api: Api) -> None:
    ada, bob = api.sign(api.user()), api.sign(api.user())
    answers = [api.client.get("/v1/me", headers=ada) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert [one.headers["ratelimit"].split(";")[1] for one in answers[:3]] == ["r=2", "r=1", "r=0"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert (
        answers[3].json()["detail"] == "Expected at most 3 requests in 60 seconds. Received: more"
    )
    assert api.client.get("/v1/me", headers=bob).status_code == 200


@pytest.mark.parametrize("rate_settings", [{"requests_per_minute": 3}], indirect=True)
def test_api_keys_share_the_rate_of_their_user(api: Api) -> None:
    ada = api.sign(api.user())
    wanted = {"name": "n", "scopes": ["jobs:read"]}
    key = api.client.post("/v1/api-keys", headers=ada, json=wanted).json()["key"]
    found = [api.client.get("/v1/jobs", headers={"X-API-Key": key}).status_code for _ in range(3)]
    assert found == [200, 200, 429]


@pytest.mark.parametrize("rate_settings", [{"jobs_in_flight": 3}], indirect=True)
def test_jobs_in_flight_are_limited(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a cache, jobs in flight are counted at each request.
    monkeypatch.setattr(api.services.quotas, "_counts", TTLCache(1, 0))
    ada = api.user()
    headers = api.sign(ada)
    assert [submit(api, headers) for _ in range(4)] == [202, 202, 202, 429]
    with api.unit_of_work() as work:
        for job in work.session.query(Job).filter_by(user_id=ada.id).limit(1):
            job.status = JobStatus.DONE.value
    assert submit(api, headers) == 202


@pytest.mark.parametrize("rate_settings", [{"rows_per_day": 8}], indirect=True)
def test_daily_rows_limit_jobs_and_catalogs_together(api: Api) -> None:
    ada = api.user()
    headers = api.sign(ada)
    api.add(_catalog(ada, rows=6))
    assert [submit(api, headers) for _ in range(3)] == [202, 202, 429]
    products = {"products": ("p.csv", b"designation\nPiscine\n")}
    refused = api.client.post("/v1/catalogs", headers=headers, files=products)
    assert refused.status_code == 429
    assert refused.json()["detail"] == "Expected at most 8 rows in 86400 seconds. Received: more"
    assert submit(api, api.sign(api.user())) == 202


def _catalog(user: User, rows: int) -> Catalog:
    return Catalog(
        id=new_catalog_id(),
        user_id=user.id,
        trace_id="0" * 32,
        name="p.csv",
        model="text",
        release="1",
        dry_run=False,
        fingerprint="f",
        size=1,
        has_images=False,
        status=CatalogStatus.FINISHED.value,
        created_at=now(),
        rows=rows,
        rejected=0,
        fed=0,
        fed_until=0,
        report={},
    )


def test_gateways_with_one_storage_share_a_rate() -> None:
    storage = MemoryStorage()
    first, second = Rates(storage), Rates(storage)
    rate = Rate("requests", 4, 60)
    for rates in (first, second, first, second):
        rates.count(rate, "ada")
    for rates in (first, second):
        with pytest.raises(Limited):
            rates.count(rate, "ada")
    first.reset(rate, "ada")
    assert second.count(rate, "ada").remaining == 3


def test_gateways_that_reserve_batches_do_not_exceed_a_large_rate() -> None:
    storage = MemoryStorage()
    gateways = [Rates(storage) for _ in range(3)]
    rate, taken = Rate("requests", 2_000, 60), 0
    for number in range(2_100):
        with suppress(Limited):
            gateways[number % 3].count(rate, "ada")
            taken += 1
    assert taken == 2_000


def test_reserved_batch_is_counted_in_the_storage_at_once() -> None:
    storage = MemoryStorage()
    rates, rate = Rates(storage), Rate("requests", 5_000, 60)
    first = rates.count(rate, "ada")
    assert first.remaining == 4_999
    assert Rates(storage).quota(rate, "ada").remaining == 4_990


def test_gateway_counts_on_its_own_without_redis() -> None:
    rates = Rates(shared_storage(BrokerSettings.model_validate({"url": "redis://127.0.0.1:1/0"})))
    rate = Rate("requests", 2, 60)
    assert [rates.count(rate, "ada").remaining for _ in range(2)] == [1, 0]
    with pytest.raises(Limited):
        rates.count(rate, "ada")


def test_finished_job_is_not_in_flight(api: Api) -> None:
    ada = api.user()
    api.add(make_job(ada), make_job(ada, status="done"), make_job(ada, lane="catalog"))
    assert api.services.quotas.in_flight(ada.id) == 1
