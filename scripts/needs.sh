# Sourced by the scripts beside it: gets programs that are missing from the distribution's packages.
# shellcheck shell=bash

# Debian keeps PostgreSQL's own programs out of PATH, one folder for each version; the newest is used.
postgres_bin() {
    local folder
    folder=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    if [ -n "$folder" ] && [ -x "$folder/initdb" ]; then
        echo "$folder"
    elif command -v initdb >/dev/null 2>&1; then
        dirname "$(command -v initdb)"
    fi
}

# has PROGRAM: whether it is there.
has() {
    if [ "$1" = initdb ]; then
        [ -n "$(postgres_bin)" ]
    else
        command -v "$1" >/dev/null 2>&1
    fi
}

# needs PROGRAM=PACKAGE …: installs the packages of the programs that are not there, or says which to
# install and fails.
needs() {
    local pair missing=()
    for pair in "$@"; do
        has "${pair%%=*}" || missing+=("${pair##*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! has apt-get; then
        echo "missing: ${missing[*]}; install them, with: sudo apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}" >&2
    # Packages of servers start them; nobody asked for that. A file of the administrator's own stays.
    local policy=/usr/sbin/policy-rc.d ours=false failed=0
    if [ ! -e "$policy" ]; then
        ours=true
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    {
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    } >&2 </dev/null || failed=$?
    if [ "$ours" = true ]; then rm -f "$policy"; fi
    return "$failed"
}
