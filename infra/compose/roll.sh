#!/bin/sh
# Puts another version in place of the running one, without a pause: infra/compose/roll.sh VERSION
#
# Its images are here already: `make images VERSION=…`, or `docker compose pull`. The tables are
# migrated first; then each worker and each gateway has a new one beside it, and is stopped when that
# is healthy. Whatever does not get healthy is removed, the old one goes on, and this ends with 1;
# then roll back to the version before, for both understand each other's messages.
#
# Without a pause for clients too where they come through the proxy: COMPOSE_PROFILES=tls and
# RAYON_GATEWAY_PORT= (empty) in `.env`. Otherwise the gateway is replaced in some seconds.
set -eu

version=${1:?Expected a version, such as 1.2.3}
patience=${ROLL_SECONDS:-240}
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

send_to() { # HOST: what the proxy asks from now on; what it has begun it ends
    if ! told=$(compose exec -T -e "RAYON_UPSTREAM_HOST=$1" proxy \
        caddy reload --config /etc/caddy/Caddyfile --adapter caddyfile 2>&1); then
        echo "The proxy cannot be sent to $1: $told" >&2
        return 1
    fi
}

newest() { # SERVICE, and the containers there were before
    for container in $(compose ps -q "$1"); do
        case " $2 " in *" $container "*) ;; *) echo "$container" ;; esac
    done
}

replace() { # SERVICE: one container after the other
    for old in $(compose ps -q "$1"); do
        before=$(compose ps -q "$1" | tr '\n' ' ')
        # The name leads to a new one as soon as it starts, long before it listens.
        if [ "$1" = gateway ]; then send_to "$(short "$old")"; fi
        count=$(($(echo "$before" | wc -w) + 1))
        compose up -d --no-build --no-deps --no-recreate --scale "$1=$count" "$1"
        new=$(newest "$1" "$before")
        if ! await_healthy "$new"; then
            docker logs --tail 20 "$new" >&2 || true
            docker rm -fv "$new" >/dev/null
            if [ "$1" = gateway ]; then send_to gateway; fi
            echo "$1 of version $version did not get healthy within $patience s; the old one goes on" >&2
            exit 1
        fi
        # Taken out of service before it stops: a name that is gone is remembered for a moment.
        if [ "$1" = gateway ]; then send_to "$(short "$new")"; fi
        docker stop "$old" >/dev/null
        # With the volume that is its own: nobody else would ever remove it.
        docker rm -v "$old" >/dev/null
        if [ "$1" = gateway ]; then send_to gateway; fi
        echo "$1: $(short "$new") of $version in place of $(short "$old")"
    done
}

# What this version has secrets for may be new.
compose run --rm --no-deps -T init
compose run --rm --no-deps -T migrate
for service in worker-fusion worker-fusion-catalog worker-text worker-text-catalog \
    worker-image worker-image-catalog; do
    replace "$service"
done
if is_behind_the_proxy; then replace gateway; fi
# The others are one each; their work waits, or is taken up again.
compose up -d --no-build --remove-orphans --wait --wait-timeout "$patience"
echo "version $version runs"

# So that the next `docker compose up` is of this version too.
touch .env
sed -i '/^RAYON_VERSION=/d' .env
echo "RAYON_VERSION=$version" >>.env
