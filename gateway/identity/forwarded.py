"""Warning about a proxy that is not trusted.

Behind it all users have one address and share its limits, so that strangers' failed sign-ins keep
everybody out.
"""

import threading

import structlog
from cachetools import TTLCache
from fastapi import Request

log = structlog.get_logger(__name__)

#: Peers that were warned of within the hour. Anybody may send the header, so they are bounded.
reported: TTLCache[str, bool] = TTLCache(1_000, 3600)
_lock = threading.Lock()


def warn_if_ignored(request: Request) -> None:
    """Log a warning, once an hour for each peer, if its `X-Forwarded-For` is ignored."""
    forwarded = request.headers.get("x-forwarded-for")
    if not forwarded or request.client is None:
        return
    peer = request.client.host
    # The server takes the address of a trusted proxy's client from the header.
    if peer in (address.strip() for address in forwarded.split(",")):
        return
    with _lock:
        is_new = peer not in reported
        reported[peer] = True
    if is_new:
        log.warning("forwarded_address_ignored", peer=peer, setting="RAYON_GATEWAY_TRUSTED_PROXIES")
