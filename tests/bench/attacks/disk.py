"""Disk: bytes beyond a quota, and files that nobody needs any more."""

import time
from pathlib import Path

import httpx

from tests.bench.attacks.figure import Figure
from tests.bench.attacks.honest import photo
from tests.bench.attacks.target import QUOTA_BYTES, Target

ATTACKER = "127.0.0.60"
#: Size and number of the stored images: twice the quota.
IMAGE_BYTES = 1_000_000
CANCELLED = 5
#: Seconds in which the files of cancelled jobs and deleted accounts have to go.
CLEAN_SECONDS = 20.0


def attacks(target: Target) -> list[Figure]:
    """Store beyond the quota, cancel, and delete an account."""
    return [_beyond_quota(target), _cancelled(target), _deleted(target)]


def _beyond_quota(target: Target) -> Figure:
    with target.account("hoarder", address=ATTACKER) as client:
        before = _stored(target)
        statuses = [
            _submit(client, photo() + bytes(IMAGE_BYTES)).status_code
            for _ in range(2 * QUOTA_BYTES // IMAGE_BYTES)
        ]
        beyond = max(0, _stored(target) - before - QUOTA_BYTES)
    return Figure(
        "10",
        f"stored by one user beyond a quota of {QUOTA_BYTES // 10**6} MB",
        beyond / 10**6,
        "MB",
        2,
        "test_bytes_beyond_the_quota_of_a_user_are_refused",
        f"{statuses.count(202)} of {len(statuses)} images accepted",
    )


def _cancelled(target: Target) -> Figure:
    with target.account("cancels", address=ATTACKER) as client:
        before = _images(target)
        jobs = [_submit(client, photo() + bytes(1000)).json().get("id") for _ in range(CANCELLED)]
        for job in jobs:
            client.delete(f"/v1/jobs/{job}")
        done = [client.get(f"/v1/jobs/{job}").json().get("status") for job in jobs]
        left = _left_after_cleaning(target, before, done.count("done"))
    return Figure(
        "10",
        f"images of {CANCELLED} cancelled jobs left after {CLEAN_SECONDS:.0f} s",
        left,
        "images",
        0,
        "test_cancelled_job_loses_its_image",
        f"{done.count('cancelled')} were cancelled before their answer",
    )


def _deleted(target: Target) -> Figure:
    with target.account("leaves", address=ATTACKER) as client:
        before = _images(target)
        for _ in range(CANCELLED):
            job = _submit(client, photo()).json()["id"]
            client.get(f"/v1/jobs/{job}", params={"wait": 20})
    with target.admin() as admin:
        status = admin.delete("/v1/users/leaves").status_code
    return Figure(
        "10",
        f"images of a deleted account left after {CLEAN_SECONDS:.0f} s",
        _left_after_cleaning(target, before),
        "images",
        0,
        "test_deleted_account_loses_its_files",
        f"status {status}",
    )


def _submit(client: httpx.Client, content: bytes) -> httpx.Response:
    files = {"image": ("p.jpg", content, "image/jpeg")}
    return client.post("/v1/jobs", data={"model": "image"}, files=files)


def _folder(target: Target) -> Path:
    return target.system.home / "storage" / "pictures"


def _images(target: Target) -> set[str]:
    return {path.name for path in _folder(target).rglob("*") if path.is_file()}


def _stored(target: Target) -> int:
    return sum(path.stat().st_size for path in _folder(target).rglob("*") if path.is_file())


def _left_after_cleaning(target: Target, before: set[str], kept: int = 0) -> int:
    """Return the new images after the time for cleaning, without `kept` and the honest client's."""
    fresh = _images(target) - before
    deadline = time.monotonic() + CLEAN_SECONDS
    while (left := len(fresh & _images(target))) > kept and time.monotonic() < deadline:
        time.sleep(0.5)
    return max(0, left - kept)
