"""Registry of releases: versions of one MLflow model, with local copies of those in use.

A release is the unit of change: text, image and fusion models that were fitted together.
The alias `champion` marks the one that serves. Nothing else in the serving code knows MLflow.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from shared import metrics
from shared.errors import NotFound, Unavailable
from shared.inference.manifest import MANIFEST, ReleaseManifest
from shared.inference.releases.access import Release
from shared.inference.releases.checksums import CHECKSUMS, Checksums
from shared.inference.releases.copies import Copies
from shared.settings import ReleaseSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.exceptions import MlflowException

CHAMPION = "champion"
#: Alias of the version that waits for a decision.
CHALLENGER = "challenger"
#: MLflow experiment of imported releases.
EXPERIMENT = "rayon-releases"
#: Prefix of tags that are not figures.
TAG_PREFIX = "rayon."
STATUS_TAG, REASON_TAG = "rayon.status", "rayon.reason"
MAX_TAG = 4_000
#: Limits of MLflow's client, which retries for minutes by default.
CLIENT_LIMITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Releases:
    """Client of the registry with a folder of downloaded releases.

    Every method raises `Unavailable` if MLflow does not answer.
    """

    def __init__(self, settings: ReleaseSettings) -> None:
        for name, value in CLIENT_LIMITS.items():
            os.environ.setdefault(name, value)
        if settings.token is not None:
            # MLflow's client has no parameter for it. Trainings, which are processes of their own,
            # inherit it.
            os.environ["MLFLOW_TRACKING_TOKEN"] = settings.token.get_secret_value()
        self._settings = settings
        self._client: MlflowClient = _mlflow().MlflowClient(
            tracking_uri=settings.mlflow_url, registry_uri=settings.mlflow_url
        )
        self._copies = Copies(settings.cache, self._download)
        self._manifests: dict[str, ReleaseManifest] = {}

    def champion(self) -> str | None:
        """Return the version that serves, or `None` before the first promotion."""
        with _unavailable_if_down():
            try:
                found = self._client.get_model_version_by_alias(self._settings.model_name, CHAMPION)
            except _mlflow().exceptions.MlflowException as error:
                if _is_missing(error):
                    return None
                raise
        return str(found.version)

    def versions(self) -> list[Release]:
        """Return all versions, newest first."""
        with _unavailable_if_down():
            model = self._model()
            if model is None:
                return []
            found = self._client.search_model_versions(f"name='{self._settings.model_name}'")
        aliases = {alias: str(version) for alias, version in model.aliases.items()}
        releases = [_release(version, aliases) for version in found]
        return sorted(releases, key=lambda release: -int(release.version))

    def show(self, version_or_alias: str) -> Release:
        """Return one version. Raises `NotFound`."""
        for release in self.versions():
            if version_or_alias in (release.version, *release.aliases):
                return release
        raise NotFound(f"No release {version_or_alias!r}")

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
        if not version.isdecimal():
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
        manifest = ReleaseManifest.read(folder)
        # Computed from the local folder, so that the first load detects a broken upload.
        checksums = Checksums.of(folder)
        with _unavailable_if_down():
            if self._model() is None:
                self._client.create_registered_model(self._settings.model_name)
            run = self._run(run_id, manifest.name)
            self._client.log_artifacts(run.info.run_id, str(folder), "release")
            # After the files, since a copy of a registered release has the checksums of that one.
            self._client.log_text(run.info.run_id, checksums.content, f"release/{CHECKSUMS}")
            for name, figure in manifest.figures.items():
                self._client.log_metric(run.info.run_id, name, figure)
            self._client.set_terminated(run.info.run_id)
            version = self._client.create_model_version(
                self._settings.model_name,
                source=f"{run.info.artifact_uri}/release",
                run_id=run.info.run_id,
                description=description,
                tags={name: str(figure) for name, figure in manifest.figures.items()}
                | _status(rejected),
            )
        return str(version.version)

    def mark_champion(self, version: str) -> None:
        """Move the alias. Callers use `shared.lifecycle.promotion`, which writes the ledger too."""
        with _unavailable_if_down():
            self._client.set_registered_model_alias(self._settings.model_name, CHAMPION, version)
            model = self._model()
            if model is not None and str(model.aliases.get(CHALLENGER)) == version:
                self._client.delete_registered_model_alias(self._settings.model_name, CHALLENGER)

    def mark_challenger(self, version: str) -> None:
        """Move the alias `challenger` to a version that waits for a decision."""
        with _unavailable_if_down():
            self._client.set_registered_model_alias(self._settings.model_name, CHALLENGER, version)

    def _model(self) -> "RegisteredModel | None":
        try:
            return self._client.get_registered_model(self._settings.model_name)
        except _mlflow().exceptions.MlflowException as error:
            if _is_missing(error):
                return None
            raise

    def _run(self, run_id: str | None, name: str) -> "Run":
        if run_id is not None:
            try:
                return self._client.get_run(run_id)
            except _mlflow().exceptions.MlflowException as error:
                if not _is_missing(error):
                    raise
                # Deleted meanwhile, or in another MLflow; registering the release matters more.
        return self._client.create_run(self._experiment(), run_name=name)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        return str(found.experiment_id if found else self._client.create_experiment(EXPERIMENT))

    def _download(self, version: str, aside: Path) -> Path:
        with _unavailable_if_down():
            try:
                source = self._client.get_model_version_download_uri(
                    self._settings.model_name, version
                )
            except _mlflow().exceptions.MlflowException as error:
                if _is_missing(error):
                    raise NotFound(f"No release {version!r}") from error
                raise
            return Path(
                _mlflow().artifacts.download_artifacts(
                    artifact_uri=source,
                    dst_path=str(aside),
                    tracking_uri=self._settings.mlflow_url,
                )
            )


@cache
def _mlflow() -> Any:
    # Imported with the first client, since it takes longer than everything else that a command of
    # the gateway imports, and most commands ask no registry.
    import mlflow.artifacts
    import mlflow.exceptions

    return mlflow


@contextmanager
def _unavailable_if_down() -> Iterator[None]:
    try:
        yield
    except (_mlflow().exceptions.MlflowException, requests.RequestException) as error:
        metrics.dependency_failures_total.labels("registry").inc()
        raise Unavailable(f"The model registry does not answer: {error}") from error


def _is_missing(error: "MlflowException") -> bool:
    # A missing alias is reported as a bad parameter, a missing model or version as not existing.
    if error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return True
    return error.error_code == "INVALID_PARAMETER_VALUE" and "alias" in str(error)


def _status(rejected: str | None) -> dict[str, str]:
    if rejected is None:
        return {}
    # MLflow rejects longer tags.
    return {STATUS_TAG: "rejected", REASON_TAG: rejected[:MAX_TAG]}


def _release(version: "ModelVersion", aliases: dict[str, str]) -> Release:
    number = str(version.version)
    return Release(
        version=number,
        aliases=tuple(sorted(alias for alias, held in aliases.items() if held == number)),
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        description=version.description or "",
        figures={
            name: float(value)
            for name, value in version.tags.items()
            if not name.startswith(TAG_PREFIX)
        },
        rejected=version.tags.get(REASON_TAG, "for no stated reason")
        if version.tags.get(STATUS_TAG) == "rejected"
        else None,
    )
