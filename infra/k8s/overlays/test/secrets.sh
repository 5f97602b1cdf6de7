#!/usr/bin/env bash
# Prints the namespace and new secrets of the test overlay, for `kubectl apply -f -`; nothing is kept.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$here/../../../.."
python3 -m infra.compose.secrets "$folder" >&2

random() { python3 -c 'import secrets; print(secrets.token_urlsafe(24), end="")'; }
printf rayon >"$folder/storage_user"
random >"$folder/storage_password"
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
  "$(cat "$folder/storage_user")" "$(cat "$folder/storage_password")" >"$folder/storage_credentials"

# NAME FILE...: one secret of those files.
secret() {
  local name=$1
  shift
  printf -- '---\n'
  kubectl create secret generic "$name" --namespace rayon-test --dry-run=client --output yaml \
    "${@/#/--from-file=$folder/}"
}

cat "$here/namespace.yaml"
secret rayon-database database_url
secret rayon-registry mlflow_database_url
secret rayon-releases registry_token
secret rayon-broker broker_url
secret rayon-gateway secret_key
secret rayon-admin admin_password
secret rayon-alertmanager alertmanager_key
secret rayon-storage storage_credentials
secret rayon-test-servers database_password mlflow_password redis_password redis.conf storage_user storage_password
