#!/usr/bin/env bash
# Makes a standby of $PRIMARY where there is no data yet, and runs it.
set -euo pipefail
data=${PGDATA:-/var/lib/postgresql/data}
if [ ! -s "$data/PG_VERSION" ]; then
  PGPASSWORD=$(cat "${PASSWORD_FILE:-/run/secrets/database.pw}")
  export PGPASSWORD
  until pg_basebackup -D "$data" -h "$PRIMARY" -p "${PRIMARY_PORT:-5432}" -U postern -R -X stream -c fast; do
    find "$data" -mindepth 1 -delete # what a try has left
    sleep 1
  done
  chmod 0700 "$data"
fi
exec postgres -D "$data" "$@"
