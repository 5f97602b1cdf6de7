#!/usr/bin/env bash
# Marks a version: VERSION must be that of pyproject.toml, have a section in CHANGELOG.md, and be on main.
#
#   VERSION=1.2.3 bash infra/ci/tag.sh     then: git push origin v1.2.3
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${VERSION:?Expected VERSION, such as 1.2.3}"
[[ $VERSION =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || { echo "Expected a version such as 1.2.3. Received: $VERSION" >&2; exit 2; }
[ -z "$(git status --porcelain)" ] || { echo "There are changes that are not committed" >&2; exit 1; }
[ "$(git rev-parse --abbrev-ref HEAD)" = main ] || { echo "Expected the branch main" >&2; exit 1; }
grep -qx "version = \"$VERSION\"" pyproject.toml || { echo "pyproject.toml has another version than $VERSION" >&2; exit 1; }
grep -q "^## $VERSION\b" CHANGELOG.md || { echo "CHANGELOG.md has no section \"## $VERSION\"" >&2; exit 1; }
bash infra/ci/notes.sh "$VERSION" | git tag --annotate "v$VERSION" --cleanup=verbatim --file=-
echo "v$VERSION is here; git push origin v$VERSION makes it a release"
