#!/bin/sh
# What stands in for the entrypoint of the image `postgres`: it makes the database of a new volume,
# runs /docker-entrypoint-initdb.d by a server that listens on its socket alone, and then serves.
set -eu
sockets=/var/run/postgresql
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown -R postgres "$PGDATA"
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --clear-groups sh "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ -z "${POSTGRES_PASSWORD:-}" ]; then
    echo "Database is uninitialized and superuser password is not specified." >&2
    exit 1
  fi
  printf '%s\n' "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username=postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \
    --no-sync --no-instructions > /dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  echo "fsync = off" >> "$PGDATA/postgresql.conf" # a test may lose it all
  pg_ctl --wait start --silent -o "-c listen_addresses='' -k $sockets" > /tmp/log
  for file in /docker-entrypoint-initdb.d/*.sql; do
    psql --host "$sockets" --username postgres --no-psqlrc --quiet -v ON_ERROR_STOP=1 -f "$file"
  done
  pg_ctl --wait stop --silent -m fast
fi
exec "$@" -c listen_addresses='*' -k "$sockets"
