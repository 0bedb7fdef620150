#!/usr/bin/env bash
# Runs the database that is named by $NAME. The one that is named by $PRIMARY is the
# primary; the other one follows it, and is made a copy of it where it has no data yet.
set -euo pipefail
data=${PGDATA:-/var/lib/postgresql/data}
if [ "$NAME" = "$PRIMARY" ]; then
  exec docker-entrypoint.sh postgres "$@"
fi
if [ -s "$data/PG_VERSION" ] && [ ! -e "$data/standby.signal" ]; then
  echo "$NAME has the data of a primary, and $PRIMARY is the primary: two of them would each have a queue. Remove the volume of $NAME, and it follows." >&2
  exit 1
fi
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
