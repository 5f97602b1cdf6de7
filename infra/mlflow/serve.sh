# The URL of the database contains a password, so it is read from a file.
set -eu
python /upgrade.py
exec mlflow server --host 0.0.0.0 --port 5000 --workers 1 \
    --backend-store-uri "$(cat "${MLFLOW_DATABASE_URL_FILE:?}")" \
    --artifacts-destination "${MLFLOW_ARTIFACTS:-/var/lib/mlflow/artifacts}" --serve-artifacts \
    --allowed-hosts "${MLFLOW_ALLOWED_HOSTS:-mlflow,mlflow:5000,127.0.0.1,127.0.0.1:5000,localhost}"
