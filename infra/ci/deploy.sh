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
# Exits with 0 if the version runs, 1 if the one before was put back, 3 if that did not work either.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${HOST:?Expected HOST, such as rayon@vm}" "${VERSION:?Expected VERSION}" "${URL:?Expected URL}"
FOLDER=${FOLDER:-rayon} DIGESTS=${DIGESTS:-} WAIT_SECONDS=${WAIT_SECONDS:-600}
SMOKE=${SMOKE:-make smoke}
[[ $VERSION =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] || { echo "Expected a version that can be a tag. Received: $VERSION" >&2; exit 2; }
[[ $FOLDER =~ ^[A-Za-z0-9_.-]+$ ]] || { echo "Expected the name of a folder. Received: $FOLDER" >&2; exit 2; }
read -ra ssh_command <<<"${SSH:-ssh -o BatchMode=yes}"
# Of the project: what Compose and the containers read. Its images are built elsewhere.
FILES=(docker-compose.yml infra)
NOT=(--exclude=infra/starter_release --exclude=infra/k8s --exclude=__pycache__)

main() {
  say "sending $VERSION to $HOST"
  send
  pull
  if start && try; then
    say "$VERSION runs"
    return
  fi
  say "$VERSION does not work; going back"
  take_back || exit 3
  exit 1
}

send() {
  tar --create --gzip "${NOT[@]}" "${FILES[@]}" | remote "
    rm -rf incoming && mkdir incoming
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
    remote "docker pull --quiet '$digest' && docker tag '$digest' 'rayon/$name:$VERSION'" </dev/null
  done 3<"$DIGESTS"
}

# The folder's name stays: a container whose mounts have another path would be made anew.
start() {
  remote "
    rm -rf previous.new
    if [ -d app ]; then mv app previous.new; fi
    mv incoming app
    if [ -d previous.new ]; then rm -rf previous && mv previous.new previous; fi
    $(up)" </dev/null
}

take_back() {
  if ! remote 'test -d previous' </dev/null; then
    say "there is no version before; it is left as it is"
    return
  fi
  remote "
    rm -rf failed && mv app failed && mv previous app
    $(up)" </dev/null && try
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

remote() { "${ssh_command[@]}" "$HOST" "set -eu; mkdir -p '$FOLDER'; cd '$FOLDER'; $1"; }

say() { echo "== $*" >&2; }

main
