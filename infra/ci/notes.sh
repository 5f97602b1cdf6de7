#!/usr/bin/env bash
# Prints what CHANGELOG.md says of a version: bash infra/ci/notes.sh 1.2.3
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# = 1 ] || { echo "Expected a version" >&2; exit 2; }
awk -v version="$1" '
  $1 == "##" { found = ($2 == version); if (found) print "Rayon " version "\n"; next }
  found
' CHANGELOG.md
