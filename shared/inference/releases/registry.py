"""Registry of releases: versions of one MLflow model, with local copies of those in use.

A release is the unit of change: text, image and fusion models that were fitted together.
The alias `champion` marks the one that serves. Nothing else in the serving code knows MLflow.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from math import inf
from pathlib import Path

from shared.errors import NotFound
from shared.inference.manifest import MANIFEST, ReleaseManifest
from shared.inference.releases.access import Release
from shared.inference.releases.copies import Copies
from shared.inference.releases.guard import Guard
from shared.inference.releases.mlflow_answers import (
    foreign_cursor,
    is_missing,
    is_version,
    mlflow,
    next_cursor,
    not_found,
    read_cursor,
    release_of,
    unavailable_if_down,
)
from shared.inference.releases.mlflow_server import Answer, MlflowRefusal, MlflowServer
from shared.inference.releases.registration import Registration
from shared.inference.releases.shared_champion import forget_champion
from shared.settings import ReleaseSettings

CHAMPION = "champion"
#: Alias of the version that waits for a decision.
CHALLENGER = "challenger"
#: Name of the newest version; MLflow reserves it, so no version has it as an alias.
LATEST = "latest"
#: Versions that are read at once, of which MLflow reads each with queries of its own.
PAGE = 200
#: Time after which a version may have been deleted, so that MLflow is asked again.
KNOWN_SECONDS = 300.0
#: Settings of MLflow's client.
CLIENT_LIMITS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Releases:
    """Client of the registry with a folder of downloaded releases.

    Every method raises `Unavailable` if MLflow does not answer.

    Args:
        settings: Address, name of the model, local folder and limit of waits.
        has_breaker: True to leave MLflow alone after a failure until it answers a probe, and to
            bound the calls at once, so that the requests of a gateway do not wait for it.
    """

    def __init__(self, settings: ReleaseSettings, *, has_breaker: bool = False) -> None:
        # A request has no time to try again. By default MLflow's client retries for minutes.
        tries, seconds = 1 if has_breaker else 2, max(1, round(settings.answer_seconds))
        limits = {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(tries - 1),
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
        }
        for name, value in (CLIENT_LIMITS | limits).items():
            os.environ.setdefault(name, value)
        if settings.token is not None:
            # MLflow's client has no parameter for it. Trainings, which are processes of their own,
            # inherit it.
            os.environ["MLFLOW_TRACKING_TOKEN"] = settings.token.get_secret_value()
        self._settings = settings
        self._server = MlflowServer(
            settings.mlflow_url, settings.token, seconds=seconds, tries=tries
        )
        self._guard = Guard(lambda: self._holder(CHAMPION)) if has_breaker else None
        self._copies = Copies(settings.cache, self._download)
        self._manifests: dict[str, ReleaseManifest] = {}
        #: Monotonic time until which a version is known to exist.
        self._known_until: dict[str, float] = {}

    @cached_property
    def _registration(self) -> Registration:
        return Registration(self._settings)

    def champion(self) -> str | None:
        """Return the version that serves, or `None` before the first promotion."""
        with self._guarded():
            return self._holder(CHAMPION)

    def _holder(self, alias: str) -> str | None:
        try:
            return str(self._version(alias)["version"])
        except MlflowRefusal as error:
            if is_missing(error):
                return None
            raise

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._guard or nullcontext(), unavailable_if_down():
            yield

    def versions(self) -> list[Release]:
        """Return all versions, newest first. The time grows with their number."""
        found, cursor = self.page(PAGE, None)
        while cursor is not None:
            further, cursor = self.page(PAGE, cursor)
            found += further
        return found

    def page(self, limit: int, cursor: str | None) -> tuple[list[Release], str | None]:
        """Return a page of versions, newest first, and the cursor of the next page.

        Raises:
            InvalidInput: The cursor was not issued by this method.
        """
        before, token = read_cursor(cursor)
        with self._guarded(), foreign_cursor(cursor):
            found = self._server.get(
                "model-versions/search",
                filter=f"name='{self._settings.model_name}'",
                max_results=limit,
                order_by=["version_number DESC"],
                page_token=token,
            )
            # A search returns versions without them.
            held = {alias: self._holder(alias) for alias in (CHALLENGER, CHAMPION)}
        # The token counts from the newest version, which may have been registered since.
        page = [
            replace(
                release_of(one),
                aliases=tuple(
                    sorted(alias for alias in held if held[alias] == str(one["version"]))
                ),
            )
            for one in found.get("model_versions", ())
            if int(one["version"]) < before
        ]
        return page, next_cursor(found)

    def show(self, version_or_alias: str) -> Release:
        """Return one version; `latest` is the newest one. Raises `NotFound`."""
        if version_or_alias.lower() == LATEST:
            found, _ = self.page(1, None)
            if not found:
                raise NotFound(f"No release {version_or_alias!r}")
            return found[0]
        with self._guarded(), not_found(version_or_alias):
            return release_of(self._version(version_or_alias))

    def version_of(self, version_or_alias: str) -> str:
        """Return the version of a name; a version that was found of late needs no MLflow.

        Raises:
            NotFound: The registry has no such version or alias.
        """
        if time.monotonic() < self._known_until.get(version_or_alias, -inf):
            return version_or_alias
        version = self.show(version_or_alias).version
        # Only numbers: an alias may name another version in the next moment.
        self._known_until[version] = time.monotonic() + KNOWN_SECONDS
        return version

    def manifest(self, version: str) -> ReleaseManifest:
        """Return the manifest of a version. Raises `NotFound`, `ReleaseUnloadable`."""
        if version not in self._manifests:
            self._manifests[version] = ReleaseManifest.read(self._copy(version, MANIFEST))
        return self._manifests[version]

    def folder(self, version: str) -> Path:
        """Return the local folder of a version, its files checked, and fetched if necessary.

        Raises:
            NotFound: The registry has no such version.
            ReleaseUnloadable: Neither the local copy nor the registry's is good.
        """
        return self._copy(version)

    def _copy(self, version: str, *names: str) -> Path:
        if not is_version(version):
            raise NotFound(f"Expected a version number. Received: {version!r}")
        return self._copies.folder(version, *names)

    def register(
        self,
        folder: Path,
        *,
        description: str,
        rejected: str | None = None,
        run_id: str | None = None,
    ) -> str:
        """Register a release folder as a new version and return its number.

        Args:
            folder: The release.
            description: Where it comes from.
            rejected: Why it may never serve.
            run_id: MLflow run that made it; without one a run is made for it.

        Raises:
            InvalidInput: The folder is not a release.
        """
        with self._guarded():
            return self._registration.register(folder, description, rejected, run_id)

    def mark_champion(self, version: str) -> None:
        """Move the alias. Callers use `shared.lifecycle.promotion`, which writes the ledger too.

        Raises:
            NotFound: The registry has no such version.
        """
        with self._guarded(), not_found(version):
            self._set_alias(CHAMPION, version)
            forget_champion(self._settings)
            if CHALLENGER in self._version(version).get("aliases", ()):
                self._server.delete(
                    "registered-models/alias", name=self._settings.model_name, alias=CHALLENGER
                )

    def mark_challenger(self, version: str) -> None:
        """Move the alias `challenger` to a version that waits for a decision."""
        with self._guarded():
            self._set_alias(CHALLENGER, version)

    def _set_alias(self, alias: str, version: str) -> None:
        name = self._settings.model_name
        self._server.post("registered-models/alias", name=name, alias=alias, version=version)

    def _version(self, version_or_alias: str) -> Answer:
        # MLflow returns all versions of a registered model, so this asks for the one version.
        name = self._settings.model_name
        if is_version(version_or_alias):
            found = self._server.get("model-versions/get", name=name, version=version_or_alias)
        else:
            found = self._server.get("registered-models/alias", name=name, alias=version_or_alias)
        version: Answer = found["model_version"]
        return version

    def _download(self, version: str, aside: Path) -> Path:
        with self._guarded():
            with not_found(version):
                source = self._server.get(
                    "model-versions/get-download-uri",
                    name=self._settings.model_name,
                    version=version,
                )["artifact_uri"]
            if self._server.passes_on(source):
                return self._server.download(source, aside)
            return Path(
                mlflow().artifacts.download_artifacts(
                    artifact_uri=source,
                    dst_path=str(aside),
                    tracking_uri=self._settings.mlflow_url,
                )
            )
