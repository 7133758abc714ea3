#!/bin/sh
# Writes .env from .env.example, with a fresh secret for each line that has none. An existing .env is
# left as it is: its passwords are those of the databases. Needs openssl, or /dev/urandom alone.
set -eu
cd "$(dirname "$0")/../.."
if [ -e .env ]; then
  echo "there is a .env already; nothing was changed" >&2
  exit 1
fi
umask 077
new=$(mktemp .env.XXXXXX)
trap 'rm -f "$new"' EXIT
while IFS= read -r line; do
  case $line in
    '#'*) ;;
    *=) line=$line$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n') ;;
  esac
  printf '%s\n' "$line"
done < .env.example > "$new"
mv "$new" .env
# Containers read these, each as a user of its own. They hold no secret.
chmod a+r deploy/compose/databases.sql deploy/compose/mlflow-auth.ini
echo "wrote .env, which only you can read: six secrets, and variables to set"
