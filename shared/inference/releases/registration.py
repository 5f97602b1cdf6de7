"""Registration of a release with MLflow's own client, which few processes need."""

from pathlib import Path
from typing import TYPE_CHECKING

from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.checksums import CHECKSUMS, Checksums
from shared.inference.releases.mlflow_answers import is_missing, mlflow, status_tags
from shared.settings import ReleaseSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

#: MLflow experiment of imported releases.
EXPERIMENT = "rayon-releases"


class Registration:
    """Registers releases in one MLflow."""

    def __init__(self, settings: ReleaseSettings) -> None:
        self._model = settings.model_name
        self._client: MlflowClient = mlflow().MlflowClient(
            tracking_uri=settings.mlflow_url, registry_uri=settings.mlflow_url
        )

    def register(
        self, folder: Path, description: str, rejected: str | None, run_id: str | None
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
        self._create_model()
        run = self._run(run_id, manifest.name)
        self._client.log_artifacts(run.info.run_id, str(folder), "release")
        # After the files, since a copy of a registered release has the checksums of that one.
        self._client.log_text(run.info.run_id, checksums.content, f"release/{CHECKSUMS}")
        for name, figure in manifest.figures.items():
            self._client.log_metric(run.info.run_id, name, figure)
        self._client.set_terminated(run.info.run_id)
        version = self._client.create_model_version(
            self._model,
            source=f"{run.info.artifact_uri}/release",
            run_id=run.info.run_id,
            description=description,
            tags={name: str(figure) for name, figure in manifest.figures.items()}
            | status_tags(rejected),
        )
        return str(version.version)

    def _create_model(self) -> None:
        try:
            self._client.create_registered_model(self._model)
        except mlflow().exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _run(self, run_id: str | None, name: str) -> "Run":
        if run_id is not None:
            try:
                return self._client.get_run(run_id)
            except mlflow().exceptions.MlflowException as error:
                if not is_missing(error):
                    raise
                # Deleted meanwhile, or in another MLflow; registering the release matters more.
        return self._client.create_run(self._experiment(), run_name=name)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        return str(found.experiment_id if found else self._client.create_experiment(EXPERIMENT))
