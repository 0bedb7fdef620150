#!/usr/bin/env bash
# Run once, when the primary is made: a standby may follow, and from the next
# start on commits wait for it. Set before, it would have the first start wait. The
# names are those of cluster_name: "*" would count pg_basebackup as a standby.
set -euo pipefail
echo "host replication postern all scram-sha-256" >>"$PGDATA/pg_hba.conf"
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (db1, db2)'"
