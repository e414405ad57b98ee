#!/usr/bin/env bash
# A Docker engine of our own, where there is none, and a base image that needs no registry (root, Debian or Ubuntu).
#
#   eval "$(tests/container/engine.sh up)"   start it, unless one answers already; prints `export DOCKER_HOST=...`,
#                                            and `export LEXOR_ENGINE_STARTED=1` where it had to
#   tests/container/engine.sh base           make the image lexor-test-base, unless it is there
#   tests/container/engine.sh down           stop the engine that `up` started; its images are kept
#
# LEXOR_ENGINE: folder of the engine's socket and data (default /tmp/lexor-engine).
# SSL_CERT_FILE, PIP_FIND_LINKS: where set, the base image trusts and offers what they name.
set -euo pipefail

DIR=${LEXOR_ENGINE:-/tmp/lexor-engine}
BASE=lexor-test-base
OWN=unix://$DIR/docker.sock

say() { echo "engine: $*" >&2; }
# `docker info` exits 0 even where only the client answers; `version` asks the engine.
answers() { DOCKER_HOST=$1 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
find_engine() {
    local host
    for host in "${DOCKER_HOST:-}" "$OWN" unix:///var/run/docker.sock; do
        if [ -n "$host" ] && answers "$host"; then
            echo "$host"
            return
        fi
    done
    return 1
}

packages() {
    local missing=()
    command -v docker >/dev/null && command -v dockerd >/dev/null || missing+=(docker.io)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

up() {
    local host
    if ! host=$(find_engine); then
        packages
        mkdir -p "$DIR"
        # A killed engine leaves these; a new one refuses to start over them.
        rm -f "$DIR/docker.pid" "$DIR/docker.sock"
        say "starting dockerd in $DIR"
        # Off the caller's descriptors: a pipe that reads this script must see its end.
        nohup dockerd --host "$OWN" --data-root "$DIR/data" --exec-root "$DIR/exec" --pidfile "$DIR/docker.pid" \
            >"$DIR/dockerd.log" 2>&1 </dev/null &
        for _ in $(seq 60); do
            answers "$OWN" && break
            sleep 1
        done
        answers "$OWN" || { say "no engine after 60 s:"; tail -20 "$DIR/dockerd.log" >&2; exit 1; }
        host=$OWN
        echo "export LEXOR_ENGINE_STARTED=1"
    fi
    echo "export DOCKER_HOST=$host"
}

base() {
    local root
    DOCKER_HOST=$(find_engine) || { say "no engine answers: engine.sh up"; exit 1; }
    export DOCKER_HOST
    docker image inspect "$BASE" >/dev/null 2>&1 && return
    packages
    root=$(mktemp -d "${TMPDIR:-/tmp}/lexor-base.XXXXXX")
    # Expanded now: the variable is gone when the trap runs.
    # shellcheck disable=SC2064
    trap "rm -rf '$root' '$root.log'" EXIT
    say "making $BASE (about a minute)"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" >"$root.log" 2>&1 ||
        { tail -20 "$root.log" >&2; exit 1; }
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    {
        echo "[global]"
        if [ -n "${SSL_CERT_FILE:-}" ]; then
            cat "$SSL_CERT_FILE" >"$root/etc/ssl/certs/ca-certificates.crt"
            echo "cert = /etc/ssl/certs/ca-certificates.crt"
        fi
        if [ -d "${PIP_FIND_LINKS:-}" ]; then
            mkdir -p "$root/$PIP_FIND_LINKS"
            cp -r "$PIP_FIND_LINKS/." "$root/$PIP_FIND_LINKS"
            echo "find-links = $PIP_FIND_LINKS"
        fi
    } >"$root/etc/pip.conf"
    tar -C "$root" -c . | docker import --change 'CMD ["/bin/bash"]' - "$BASE" >/dev/null
}

down() {
    [ -f "$DIR/docker.pid" ] || return 0
    local pid
    pid=$(cat "$DIR/docker.pid")
    # The file may be a leftover and the number someone else's.
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        kill "$pid"
        for _ in $(seq 60); do
            [ -d "/proc/$pid" ] || break
            sleep 0.5
        done
    fi
    rm -f "$DIR/docker.pid" "$DIR/docker.sock"
}

case ${1-} in
    up | base | down) "$1" ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
