"""Disk: bytes beyond a quota, and files that nobody needs any more."""

import hashlib
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx

from tests.bench.attacks.figure import Figure
from tests.bench.attacks.honest import photo
from tests.bench.attacks.target import QUOTA_BYTES, Target

ATTACKER = "127.0.0.60"
#: Size and number of the stored images: twice the quota.
IMAGE_BYTES = 5_000_000
CANCELLED = 5
#: Age of files of cancelled jobs and deleted accounts, and the seconds in which they have to go.
AGE_SECONDS, CLEAN_SECONDS = 4 * 3600, 20.0


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
        "test_upload_beyond_the_quota_is_429",
        f"{statuses.count(202)} of {len(statuses)} images accepted",
    )


def _cancelled(target: Target) -> Figure:
    contents = [photo() + bytes(1000) for _ in range(CANCELLED)]
    with target.account("cancels", address=ATTACKER) as client:
        jobs = [_submit(client, content).json().get("id") for content in contents]
        for job in jobs:
            client.delete(f"/v1/jobs/{job}")
        statuses = [client.get(f"/v1/jobs/{job}").json().get("status") for job in jobs]
    return Figure(
        "10",
        f"images of {CANCELLED} cancelled jobs left after {AGE_SECONDS // 3600} hours",
        max(0, _left(target, contents) - statuses.count("done")),
        "images",
        0,
        "test_image_of_cancelled_jobs_is_deleted",
        f"{statuses.count('cancelled')} were cancelled before their answer",
    )


def _deleted(target: Target) -> Figure:
    contents = [photo() for _ in range(CANCELLED)]
    with target.account("leaves", address=ATTACKER) as client:
        for content in contents:
            job = _submit(client, content).json()["id"]
            client.get(f"/v1/jobs/{job}", params={"wait": 20})
    with target.admin() as admin:
        status = admin.delete("/v1/users/leaves").status_code
    return Figure(
        "10",
        f"images of a deleted account left after {AGE_SECONDS // 3600} hours",
        _left(target, contents),
        "images",
        0,
        "test_files_of_a_deleted_account_are_deleted",
        f"status {status}",
    )


def _submit(client: httpx.Client, content: bytes) -> httpx.Response:
    files = {"image": ("p.jpg", content, "image/jpeg")}
    return client.post("/v1/jobs", data={"model": "image"}, files=files)


def _folder(target: Target) -> Path:
    return target.system.home / "storage" / "pictures"


def _stored(target: Target) -> int:
    return sum(path.stat().st_size for path in _folder(target).rglob("*") if path.is_file())


def _left(target: Target, contents: list[bytes]) -> int:
    """Return the number of stored images that the scheduler does not delete once they are old."""
    names = {hashlib.sha256(content).hexdigest() for content in contents}
    found = [path for path in _folder(target).rglob("*") if path.name in names]
    _age(target, found)
    deadline = time.monotonic() + CLEAN_SECONDS
    while any(path.exists() for path in found) and time.monotonic() < deadline:
        time.sleep(0.5)
    return sum(path.exists() for path in found)


def _age(target: Target, files: list[Path]) -> None:
    """Set the times of files, and of the accounts of the system, back."""
    then = time.time() - AGE_SECONDS
    with closing(sqlite3.connect(target.system.home / "rayon.db", timeout=30)) as database:
        database.execute("UPDATE users SET created_at = datetime(created_at, '-2 days')")
        database.commit()
    for path in files:
        os.utime(path, (then, then))
