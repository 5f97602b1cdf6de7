# The variables that `mlflow server` would set (mlflow.server.constants); it would serve all of MLflow.
# The URL of the database contains a password, so it is read from a file.
set -eu
python /upgrade.py
_MLFLOW_SERVER_FILE_STORE=$(cat "${MLFLOW_DATABASE_URL_FILE:?}")
export _MLFLOW_SERVER_FILE_STORE
export _MLFLOW_SERVER_ARTIFACT_ROOT=mlflow-artifacts:/
export _MLFLOW_SERVER_ARTIFACT_DESTINATION="${MLFLOW_ARTIFACTS:-/var/lib/mlflow/artifacts}"
export _MLFLOW_SERVER_SERVE_ARTIFACTS=true _MLFLOW_SGI_NAME=uvicorn
export MLFLOW_SERVER_ALLOWED_HOSTS="${MLFLOW_ALLOWED_HOSTS:-mlflow,mlflow:5000,127.0.0.1,127.0.0.1:5000,localhost}"
exec uvicorn --app-dir /opt/rayon --factory infra.mlflow.app:create_app --host 0.0.0.0 --port 5000 \
    --no-access-log
