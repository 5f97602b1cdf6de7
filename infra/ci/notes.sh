#!/usr/bin/env bash
# Print the section of a version in CHANGELOG.md: bash infra/ci/notes.sh 1.2.3
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# = 1 ] || { echo "Expected a version" >&2; exit 2; }
awk -v heading="[$1]" -v version="$1" '
  $1 == "##" { in_section = ($2 == heading); if (in_section) { print "Rayon " version; found = 1 }; next }
  in_section
  END { exit !found }
' CHANGELOG.md || { echo "Expected a section \"## [$1] - DATE\" in CHANGELOG.md. Received: none" >&2; exit 1; }
