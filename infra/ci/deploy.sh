#!/usr/bin/env bash
# Deploy a version to a machine with Compose over SSH, test it, and roll back on failure.
#
#   HOST=rayon@vm VERSION=1.2.3 URL=https://rayon.example.org bash infra/ci/deploy.sh
#
# On the machine, in the folder ~/$FOLDER:
#   settings.env   settings of the machine (RAYON_HOST, COMPOSE_PROFILES=tls, TEXT_WORKERS …), never changed
#   app/           docker-compose.yml and infra/ of the running version, and its name
#   previous/      the same for the previous version
# DIGESTS names a file of lines `NAME REPOSITORY@sha256:…`, as push.sh writes it; those images are
# pulled. Without it the images rayon/NAME:VERSION must exist there. SMOKE is the command that tests the
# system, called with URL. A failed first deployment is left as it is, since there is no previous version.
#
# Exit codes: 0 if the version runs; 1 if the previous version runs, restored or never replaced; 3 if a
# person must intervene, because the rollback failed or the machine cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${HOST:?Expected HOST, such as rayon@vm}" "${VERSION:?Expected VERSION}" "${URL:?Expected URL}"
FOLDER=${FOLDER:-rayon} DIGESTS=${DIGESTS:-} WAIT_SECONDS=${WAIT_SECONDS:-600}
SMOKE=${SMOKE:-make smoke} LOCK_SECONDS=${LOCK_SECONDS:-1800}
[[ $VERSION =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] || { echo "Expected a version that can be a tag. Received: $VERSION" >&2; exit 2; }
[[ $FOLDER =~ ^[A-Za-z0-9_.-]+$ ]] || { echo "Expected the name of a folder. Received: $FOLDER" >&2; exit 2; }
read -ra ssh_command <<<"${SSH:-ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15}"
# Files that Compose and the containers read. Images are built elsewhere.
FILES=(docker-compose.yml infra)
NOT=(--exclude=infra/starter_release --exclude=infra/k8s --exclude=__pycache__)
# Exit codes of the rollback, and of SSH itself.
NOT_REPLACED=10 NOTHING_BEFORE=11 UNREACHABLE=255

main() {
  local code=0
  say "sending $VERSION to $HOST"
  { send && pull; } || code=$?
  [ "$code" = 0 ] || give_up "$code" 1 "$VERSION could not be sent; nothing was replaced"
  { start && try; } || code=$?
  if [ "$code" = 0 ]; then
    say "$VERSION runs"
    return
  fi
  say "$VERSION does not work; going back"
  take_back
}

# CODE EXIT SENTENCE: exit with EXIT, or with 3 if CODE is a failure of SSH.
give_up() {
  if [ "$1" = "$UNREACHABLE" ]; then
    say "$HOST cannot be reached; which version runs there is not known"
    exit 3
  fi
  say "$3"
  exit "$2"
}

send() {
  tar --create --gzip "${NOT[@]}" "${FILES[@]}" | remote "
    rm -rf incoming
    mkdir incoming
    tar --extract --gzip --directory incoming
    echo '$VERSION' >incoming/version"
}

pull() {
  [ -n "$DIGESTS" ] || return 0
  local name digest
  while read -r name digest <&3; do
    [[ $name =~ ^[a-z_]+$ && $digest =~ ^[A-Za-z0-9._/:-]+@sha256:[0-9a-f]{64}$ ]] ||
      { echo "Expected NAME REPOSITORY@sha256:… in $DIGESTS. Received: $name $digest" >&2; exit 2; }
    say "pulling $name"
    remote "docker pull --quiet '$digest' && docker tag '$digest' 'rayon/$name:$VERSION'" </dev/null || return
  done 3<"$DIGESTS"
}

# The folder keeps its name: containers whose mounts change their path would be recreated.
start() {
  remote "
    $(settle)
    if [ -d app ]; then mv app previous.new; fi
    mv incoming app
    $(settle)
    $(up)" </dev/null
}

# A version that never replaced the running one must not become `previous`, which is older.
take_back() {
  local code=0
  remote "
    $(settle)
    if [ -d incoming ] || [ \"\$(cat app/version 2>/dev/null)\" != '$VERSION' ]; then exit $NOT_REPLACED; fi
    if [ ! -d previous ]; then exit $NOTHING_BEFORE; fi
    rm -rf failed
    mv app failed
    mv previous app
    $(up)" </dev/null || code=$?
  case $code in
    0) try || give_up 1 3 "the version before does not work either" ;;
    "$NOT_REPLACED") give_up "$code" 1 "the version before was not replaced, and is left as it is" ;;
    "$NOTHING_BEFORE") give_up "$code" 1 "there is no version before; it is left as it is" ;;
    *) give_up "$code" 3 "going back did not work" ;;
  esac
  say "the version before runs again"
  exit 1
}

# Complete a deployment that was interrupted between two folder moves.
settle() {
  cat <<'REMOTE'
if [ -d previous.new ]; then
      if [ -d app ]; then rm -rf previous; mv previous.new previous; else mv previous.new app; fi
    fi
REMOTE
}

# Start the version in app/ with the settings of the machine: running services are replaced one by one,
# the others are started.
up() {
  cat <<'REMOTE'
    touch settings.env
    { cat settings.env; echo; echo "RAYON_VERSION=$(cat app/version)"; } >app/.env
    cd app
    if [ -n "$(docker compose ps --quiet gateway)" ]; then sh infra/compose/roll.sh "$(cat version)"; fi
REMOTE
  printf '    docker compose up --detach --no-build --remove-orphans --wait --wait-timeout %q\n' "$WAIT_SECONDS"
}

try() {
  say "trying $URL"
  URL=$URL $SMOKE
}

# A remote shell continues after its connection breaks, so the next one waits for it. None of them exits
# with the code that SSH uses for its own failures.
remote() {
  "${ssh_command[@]}" "$HOST" "set -eu
    trap 'code=\$?; [ \$code != $UNREACHABLE ] || exit 1' EXIT
    mkdir -p '$FOLDER'
    cd '$FOLDER'
    exec 9>lock
    flock -w '$LOCK_SECONDS' 9 || { echo 'Another deployment does not end' >&2; exit 1; }
    $1"
}

say() { echo "== $*" >&2; }

main
