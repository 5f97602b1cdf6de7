#!/usr/bin/env bash
# Start a second Compose system, test it, and remove it.
#
#   bash infra/ci/stack.sh         images as `make images VERSION=$RAYON_VERSION` left them
#   KEEP=1 bash infra/ci/stack.sh  leave it running
set -euo pipefail
cd "$(dirname "$0")/../.."
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-rayon-test}
export RAYON_GATEWAY_PORT=${RAYON_GATEWAY_PORT:-18000}
url=http://127.0.0.1:$RAYON_GATEWAY_PORT
python=${PYTHON:-.venv/bin/python}

finish() {
  local code=$?
  [ "$code" = 0 ] || docker compose logs --no-color --tail 60 >&2 || true
  [ -n "${KEEP:-}" ] || docker compose down --volumes --timeout 20
  exit "$code"
}
trap finish EXIT

started=$SECONDS
docker compose up --detach --no-build --wait --wait-timeout "${WAIT_SECONDS:-600}"
echo "healthy after $((SECONDS - started)) s"
RAYON_ADMIN_PASSWORD=$(docker compose exec -T gateway cat /run/rayon/admin_password)
# Mask the password in the logs of GitHub.
[ -z "${GITHUB_ACTIONS:-}" ] || echo "::add-mask::$RAYON_ADMIN_PASSWORD"
export RAYON_ADMIN_PASSWORD
export PYTHONPATH=shared/client
"$python" -m infra.acceptance.smoke --url "$url"
"$python" -m infra.acceptance.validation --url "$url"
