#!/bin/sh
# Replace the running version without downtime: infra/compose/roll.sh VERSION
#
# Its images must exist: `make images VERSION=…`, or `docker compose pull`. The database is migrated first.
# Then a new container is started beside each worker and gateway, and the old one stops once the new one is
# healthy. A container that does not become healthy is removed, the old one keeps running, and this exits
# with 1; then roll back to the previous version: both versions understand the messages of the other.
#
# Clients see no downtime if they use the proxy: COMPOSE_PROFILES=tls and RAYON_GATEWAY_PORT= (empty) in
# `.env`. Otherwise the gateway is away for some seconds.
set -eu

version=${1:?Expected a version, such as 1.2.3}
patience=${ROLL_SECONDS:-600}
cd "$(dirname "$0")/../.."
export RAYON_VERSION="$version"

compose() { docker compose --progress quiet "$@"; }

short() { echo "$1" | cut -c 1-12; }

health() { docker inspect -f '{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}' "$1"; }

await_healthy() { # CONTAINER
    waited=0
    until [ "$(health "$1")" = healthy ]; do
        [ "$waited" -lt "$patience" ] || return 1
        sleep 1
        waited=$((waited + 1))
    done
}

is_behind_the_proxy() {
    [ -n "$(compose ps -q proxy 2>/dev/null)" ] &&
        compose config --environment | grep -qx 'RAYON_GATEWAY_PORT='
}

send_to() { # HOST: new upstream of the proxy; running requests are completed
    if ! answer=$(compose exec -T -e "RAYON_UPSTREAM_HOST=$1" proxy \
        caddy reload --config /etc/caddy/Caddyfile --adapter caddyfile 2>&1); then
        echo "The proxy did not accept the upstream $1: $answer" >&2
        return 1
    fi
}

join() { # SERVICE: servers of an earlier version have one network; give them those of this version
    for network in $(compose config --format json |
        python3 -c 'import json, sys
config = json.load(sys.stdin)
for one in config["services"].get(sys.argv[1], {}).get("networks") or ():
    print(config["networks"][one]["name"])' "$1"); do
        for container in $(compose ps -q "$1"); do
            docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}' \
                "$container" | grep -qx "$network" ||
                docker network connect --alias "$1" "$network" "$container"
        done
    done
}

newest() { # SERVICE, and its earlier containers
    for container in $(compose ps -q "$1"); do
        case " $2 " in *" $container "*) ;; *) echo "$container" ;; esac
    done
}

replace() { # SERVICE: one container after the other
    for old in $(compose ps -q "$1"); do
        before=$(compose ps -q "$1" | tr '\n' ' ')
        # The name resolves to a new container as soon as it starts, long before it listens.
        if [ "$1" = gateway ]; then send_to "$(short "$old")"; fi
        count=$(($(echo "$before" | wc -w) + 1))
        compose up -d --no-build --no-deps --no-recreate --scale "$1=$count" "$1"
        new=$(newest "$1" "$before")
        if ! await_healthy "$new"; then
            docker logs --tail 20 "$new" >&2 || true
            docker rm -fv "$new" >/dev/null
            if [ "$1" = gateway ]; then send_to gateway; fi
            echo "$1 of version $version did not become healthy within $patience s; the old one keeps running" >&2
            exit 1
        fi
        # Taken out of service before it stops: resolvers cache the removed name for a moment.
        if [ "$1" = gateway ]; then send_to "$(short "$new")"; fi
        docker stop "$old" >/dev/null
        # With its anonymous volume, which nothing else would remove.
        docker rm -v "$old" >/dev/null
        if [ "$1" = gateway ]; then send_to gateway; fi
        echo "$1: $(short "$new") of $version in place of $(short "$old")"
    done
}

# This version may have new secrets and networks.
compose run --rm --no-deps -T init
compose create --no-build --no-recreate
for service in postgres redis mlflow objects proxy gateway; do join "$service"; done
compose run --rm --no-deps -T roles
compose run --rm --no-deps -T migrate
for service in worker-fusion worker-fusion-catalog worker-text worker-text-catalog \
    worker-image worker-image-catalog; do
    replace "$service"
done
if is_behind_the_proxy; then replace gateway; fi
# The other services run once each; their work waits or is resumed.
compose up -d --no-build --remove-orphans --wait --wait-timeout "$patience"
echo "version $version runs"

# The next `docker compose up` uses this version too.
touch .env
sed -i '/^RAYON_VERSION=/d' .env
echo "RAYON_VERSION=$version" >>.env
