#!/usr/bin/env bash
# Makes the secrets that compose.yaml names and that are not there yet, except the signers' keys: secrets.sh.
#
# Containers see each file as it is on this machine, and run as other users. So the files are readable for all, and the directory is
# closed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

mkdir -p secrets
chmod 700 secrets
cd secrets

random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
have() { [ -s "$1" ] && echo "deploy/secrets/$1 is there already"; }
made() { chmod 444 "$1"; echo "deploy/secrets/$1 was made"; }

have database-password || { random >database-password; made database-password; }
have database-url || { printf 'postgres://quittance:%s@postgres/quittance' "$(cat database-password)" >database-url; made database-url; }
have grafana-password || { random >grafana-password; made grafana-password; }
have receipt-keys.json || {
  # The binary, or the image that compose.yaml builds.
  quittance=${QUITTANCE_BIN:-"docker run --rm --user $(id -u):$(id -g) --volume $PWD:/secrets --workdir /secrets quittance:0.1.0"}
  $quittance keys generate --out receipt-keys.json
  made receipt-keys.json
}
[ -s base-1 ] || echo "deploy/secrets/base-1 is missing: the key of a signer for Base, 64 hexadecimal digits (chmod 444)"
