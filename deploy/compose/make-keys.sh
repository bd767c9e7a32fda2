#!/bin/sh
# The keys of docker-compose.yml. The first start makes an administrator's key and prints it, unless .env gives one as
# SLIMSEQ_ADMIN_TOKEN. Prometheus gets a key of its own, as a file. Later starts change nothing.
set -eu
umask 077
prometheus=$(dirname "$SLIMSEQ_KEYS_FILE")/prometheus.key

if [ -n "$SLIMSEQ_ADMIN_TOKEN" ]; then
  echo "The administrator's key is SLIMSEQ_ADMIN_TOKEN."
elif [ ! -e "$SLIMSEQ_KEYS_FILE" ]; then
  echo "The administrator's key, which is shown this once:"
  slimseq keys add admin --scope admin
fi

if [ ! -s "$prometheus" ]; then
  # A start that was interrupted may have left a key that nobody knows.
  slimseq keys revoke prometheus 2>/dev/null || true
  slimseq keys add prometheus --scope metrics >"$prometheus.new"
  # Prometheus runs as another user. No container but it and the service has this folder.
  chmod 444 "$prometheus.new"
  mv "$prometheus.new" "$prometheus"
fi
