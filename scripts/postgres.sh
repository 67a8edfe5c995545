#!/usr/bin/env bash
# A throw-away PostgreSQL server: postgres.sh start DIR prints its URL, postgres.sh stop DIR ends it as a crash would, and postgres.sh again DIR
# starts it with what it had. postgres.sh copy DIR copies its files while it runs, and postgres.sh back DIR starts it, when it was
# stopped, with those instead of its own.
#
# DIR is new or empty, and its path short enough for a socket. There is no TCP, and nothing outlives a crash of the machine. PostgreSQL
# refuses to run as root, so root runs it as the user postgres or nobody.
directory=$(realpath -m -- "${2:-.}")
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[ $# = 2 ] || fail "postgres.sh start|stop|again|copy|back DIR"
action=$1
bin=$(postgres_bin)
[ -n "$bin" ] || fail "PostgreSQL $POSTGRES_MIN or newer is not installed; scripts/setup.sh postgres does that"

user=$(id -un)
if [ "$(id -u)" = 0 ]; then
  user=nobody
  if id -u postgres >/dev/null 2>&1; then user=postgres; fi
fi

run() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- env -i PATH="$PATH" LC_ALL=C "$@")
  else
    (cd / && env LC_ALL=C "$@")
  fi
}

serve() {
  run "$bin/pg_ctl" start --pgdata "$directory/data" --wait --silent --log "$directory/log" --options \
    "-k '$directory' -c listen_addresses= -c fsync=off -c full_page_writes=off" >/dev/null ||
    { cat "$directory/log" >&2; fail "PostgreSQL did not start"; }
}

case $action in
  start)
    mkdir -p "$directory"
    if [ "$(id -u)" = 0 ]; then chown "$user" "$directory"; fi
    chmod 700 "$directory"
    run "$bin/initdb" --pgdata "$directory/data" --username quittance --auth trust --encoding UTF8 --no-locale --no-sync >/dev/null
    serve
    printf 'postgres://quittance@localhost/postgres?host=%s\n' "$directory"
    ;;
  again) serve ;;
  copy) run "$bin/pg_basebackup" --pgdata "$directory/copy" --checkpoint fast --host "$directory" --username quittance --no-sync ;;
  stop) run "$bin/pg_ctl" stop --pgdata "$directory/data" --mode immediate --silent ;;
  back)
    [ -d "$directory/copy" ] || fail "there is no copy in $directory"
    ! run "$bin/pg_ctl" status --pgdata "$directory/data" >/dev/null || fail "the server in $directory runs"
    rm -rf "$directory/data"
    mv "$directory/copy" "$directory/data"
    serve
    ;;
  *) fail "postgres.sh start|stop|again|copy|back DIR" ;;
esac
