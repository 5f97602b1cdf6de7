#!/usr/bin/env bash
# Brings a version to a machine by Compose over SSH, tries it, and takes it back if it does not work.
#
#   HOST=rayon@vm VERSION=1.2.3 URL=https://rayon.example.org bash infra/ci/deploy.sh
#
# On the machine, in the folder ~/$FOLDER:
#   settings.env   what is set there (RAYON_HOST, COMPOSE_PROFILES=tls, TEXT_WORKERS …), and left alone
#   app/           docker-compose.yml and infra/ of the version that runs, and its name
#   previous/      the same of the version before
# DIGESTS names a file of lines `NAME REPOSITORY@sha256:…`, as push.sh writes it; those images are
# pulled. Without it the images rayon/NAME:VERSION must be there. SMOKE is the command that tries the
# system; it gets URL. The first deployment has nothing to go back to, and is left as it is.
#
# Exits with 0 if the version runs; with 1 if not, and the one before does: it was put back, or never
# replaced; with 3 if somebody must look: going back did not work, or the machine cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${HOST:?Expected HOST, such as rayon@vm}" "${VERSION:?Expected VERSION}" "${URL:?Expected URL}"
FOLDER=${FOLDER:-rayon} DIGESTS=${DIGESTS:-} WAIT_SECONDS=${WAIT_SECONDS:-600}
SMOKE=${SMOKE:-make smoke} LOCK_SECONDS=${LOCK_SECONDS:-1800}
[[ $VERSION =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] || { echo "Expected a version that can be a tag. Received: $VERSION" >&2; exit 2; }
[[ $FOLDER =~ ^[A-Za-z0-9_.-]+$ ]] || { echo "Expected the name of a folder. Received: $FOLDER" >&2; exit 2; }
read -ra ssh_command <<<"${SSH:-ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15}"
# Of the project: what Compose and the containers read. Its images are built elsewhere.
FILES=(docker-compose.yml infra)
NOT=(--exclude=infra/starter_release --exclude=infra/k8s --exclude=__pycache__)
# Exit codes of going back, and the one of SSH itself.
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

# CODE EXIT SENTENCE: ends with EXIT, unless CODE says that it was SSH that failed.
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

# The folder's name stays: a container whose mounts have another path would be made anew.
start() {
  remote "
    $(settle)
    if [ -d app ]; then mv app previous.new; fi
    mv incoming app
    $(settle)
    $(up)" </dev/null
}

# What did not come to replace the one before must not be taken for it: `previous` is older still.
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

# Ends what was broken off between two moves of folders.
settle() {
  cat <<'REMOTE'
if [ -d previous.new ]; then
      if [ -d app ]; then rm -rf previous; mv previous.new previous; else mv previous.new app; fi
    fi
REMOTE
}

# Brings up what is in app/, with the settings of the machine: what runs is replaced one by one, the
# rest is started.
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

# A shell goes on there after its connection broke, so the next one waits until it is done. None of
# them ends with the code by which SSH says that it failed itself.
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
