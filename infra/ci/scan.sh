#!/usr/bin/env bash
# Scan the images for known vulnerabilities with a fix, and write their SBOMs.
#
#   bash infra/ci/scan.sh VERSION FOLDER    FOLDER/NAME.spdx.json for each image
set -euo pipefail
[ $# = 2 ] || { echo "Expected VERSION and FOLDER" >&2; exit 2; }
version=$1 folder=$2 code=0
command -v trivy >/dev/null || { echo "trivy is not installed; the workflow's action brings it" >&2; exit 1; }
mkdir -p "$folder"
for name in gateway worker_text worker_image worker_fusion trainer mlflow; do
  image=rayon/$name:$version
  echo "== $image"
  trivy image --quiet --format spdx-json --output "$folder/$name.spdx.json" "$image"
  trivy image --quiet --scanners vuln --severity HIGH,CRITICAL --ignore-unfixed --exit-code 1 "$image" || code=1
done
exit "$code"
