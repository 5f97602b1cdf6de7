#!/usr/bin/env bash
# Tag a version, which must be the one in pyproject.toml, have a dated section in CHANGELOG.md, and be on main.
#
#   VERSION=1.2.3 bash infra/ci/tag.sh     then: git push origin v1.2.3
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${VERSION:?Expected VERSION, such as 1.2.3}"
[[ $VERSION =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || { echo "Expected a version such as 1.2.3. Received: $VERSION" >&2; exit 2; }
[ -z "$(git status --porcelain)" ] || { echo "Expected no uncommitted changes" >&2; exit 1; }
[ "$(git rev-parse --abbrev-ref HEAD)" = main ] || { echo "Expected the branch main" >&2; exit 1; }
grep -qxF "version = \"$VERSION\"" pyproject.toml || { echo "Expected version = \"$VERSION\" in pyproject.toml" >&2; exit 1; }
grep -qE "^## \[${VERSION//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md ||
  { echo "Expected a section \"## [$VERSION] - YYYY-MM-DD\" in CHANGELOG.md" >&2; exit 1; }
bash infra/ci/notes.sh "$VERSION" | git tag --annotate "v$VERSION" --cleanup=verbatim --file=-
echo "Tagged v$VERSION; git push origin v$VERSION publishes the release"
