"""Acceptance of submitted products, one by one or several at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import FormData

from gateway.api.services import Services
from gateway.identity.principal import Principal
from gateway.jobs.product_body import product_of
from gateway.jobs.responses import job_out
from gateway.jobs.schemas import JobOut
from gateway.jobs.submission import Offer, Product, require_input
from gateway.releases.resolve import resolve
from shared.db.models import Job
from shared.inference.releases.registry import CHAMPION


@dataclass(frozen=True)
class Sent:
    """A submission: its sender, the body and the ID of its trace."""

    principal: Principal
    body: FormData | bytes
    trace_id: str


def accept(services: Services, sent: Sent, idempotency_key: str | None = None) -> JobOut:
    """Store a product and its job, and block until they are committed."""
    offer = _offer(services, sent, product_of(sent.body, services.settings))
    return job_out(services.jobs.submit(offer, idempotency_key))


def accept_all(services: Services, sent: Sequence[Sent]) -> list[JobOut | Exception | None]:
    """Store products and their jobs together; return each job, or the error of `accept`.

    `None` stands for a product that may hold up the others and is not stored: it has an image, or
    the registry must be asked for its release.
    """
    offers = [_quick_offer(services, one) for one in sent]
    kept = iter(services.jobs.submit_all([one for one in offers if isinstance(one, Offer)]))
    outcomes = [next(kept) if isinstance(one, Offer) else one for one in offers]
    return [job_out(one) if isinstance(one, Job) else one for one in outcomes]


def _quick_offer(services: Services, sent: Sent) -> Offer | Exception | None:
    try:
        product = product_of(sent.body, services.settings)
        if product.image or product.release != CHAMPION:
            return None
        return _offer(services, sent, product)
    except Exception as error:
        return error


def _offer(services: Services, sent: Sent, product: Product) -> Offer:
    """Check a submission and count it."""
    require_input(product)
    if product.image:
        services.require_space(sent.principal, len(product.image))
    services.quotas.take_job(sent.principal)
    version = resolve(services.champion, services.releases, product.release)
    return Offer(sent.principal, product, version, sent.trace_id)
