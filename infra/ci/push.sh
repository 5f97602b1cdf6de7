#!/usr/bin/env bash
# Push the images built here, and write their digests for the deployment.
#
#   bash infra/ci/push.sh PREFIX VERSION FILE    a line `NAME PREFIX/NAME@sha256:…` for each image
set -euo pipefail
[ $# = 3 ] || { echo "Expected PREFIX, VERSION and FILE" >&2; exit 2; }
# Image names are lowercase; owner names may have capitals.
prefix=$(printf %s "$1" | tr '[:upper:]' '[:lower:]') version=$2 file=$3
: >"$file"
for name in gateway worker_text worker_image worker_fusion trainer mlflow; do
  docker tag "rayon/$name:$version" "$prefix/$name:$version"
  docker push --quiet "$prefix/$name:$version"
  digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$prefix/$name:$version" |
    grep --fixed-strings "$prefix/$name@sha256:" | head -1)
  [ -n "$digest" ] || { echo "$prefix/$name:$version has no digest after it was pushed" >&2; exit 1; }
  echo "$name $digest" >>"$file"
done
cat "$file"
