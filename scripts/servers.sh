# Sourced by the scripts beside it: private servers in a temporary folder on free ports, ended and
# removed when the script ends. Sets $work. Servers that already run are left alone.
# shellcheck shell=bash
# shellcheck disable=SC2034 # What is set here is used by the scripts that source it.

work=$(mktemp -d)
chmod 755 "$work"
postgres_id='' redis_id='' docker_id=''

clean_up() {
    local id
    for id in $postgres_id $redis_id; do
        # SIGINT is PostgreSQL's fast shutdown, and Redis' as well.
        kill -INT "$id" 2>/dev/null || true
    done
    # This one takes its containers, networks and mounts along.
    if [ -n "$docker_id" ]; then kill -TERM "$docker_id" 2>/dev/null || true; fi
    for id in $postgres_id $redis_id $docker_id; do
        wait "$id" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Below the range from which the kernel gives ports to clients.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# wait_for WHAT LOG COMMAND…: until the command succeeds.
wait_for() {
    local what=$1 log=$2 left=150
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        if [ "$left" -eq 0 ]; then
            echo "$what does not answer; its log:" >&2
            cat "$log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

# PostgreSQL refuses to run as root.
as_owner=()

# start_postgres SETTING…: a new cluster with these settings; sets $postgres_url.
start_postgres() {
    local bin port setting settings=()
    for setting in "$@"; do settings+=(-c "$setting"); done
    bin=$(postgres_bin)
    port=$(free_port)
    mkdir "$work/postgres"
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres: "$work/postgres"
        as_owner=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    fi
    "${as_owner[@]}" "$bin/initdb" -D "$work/postgres/data" -U postgres -A trust -E UTF8 \
        --locale=C --no-sync >"$work/initdb.log" 2>&1 || {
        cat "$work/initdb.log" >&2
        exit 1
    }
    "${as_owner[@]}" "$bin/postgres" -D "$work/postgres/data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories="$work/postgres" \
        "${settings[@]}" \
        >"$work/postgres.log" 2>&1 </dev/null &
    postgres_id=$!
    wait_for PostgreSQL "$work/postgres.log" \
        "$bin/psql" -h 127.0.0.1 -p "$port" -U postgres -c 'SELECT 1'
    postgres_url="postgres://postgres@127.0.0.1:$port/postgres"
}

# start_redis: sets $redis_url.
start_redis() {
    local port
    port=$(free_port)
    redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" \
        >"$work/redis.log" 2>&1 </dev/null &
    redis_id=$!
    wait_for Redis "$work/redis.log" redis-cli -p "$port" ping
    redis_url="redis://127.0.0.1:$port"
}

# start_docker: a Docker engine of its own; sets $docker_host. Where none can run it says so and sets nothing: the tests
# that need one fail then, and say what is missing.
start_docker() {
    "$(dirname "${BASH_SOURCE[0]}")/docker-engine" "$work/docker" >"$work/docker.log" 2>&1 </dev/null &
    docker_id=$!
    local left=150
    until curl --silent --fail --unix-socket "$work/docker/docker.sock" http://engine/_ping >/dev/null 2>&1; do
        left=$((left - 1))
        if [ "$left" -eq 0 ] || ! kill -0 "$docker_id" 2>/dev/null; then
            echo "no Docker engine can run here (it needs root and the right to mount); its log:" >&2
            cat "$work/docker.log" >&2
            return 0
        fi
        sleep 0.2
    done
    docker_host="unix://$work/docker/docker.sock"
}
