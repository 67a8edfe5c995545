#!/usr/bin/env bash
# Makes the secrets that compose.yaml names and that are not there yet, except the signers' keys, or adds new keys to the keyring of receipts:
# secrets.sh [rotate [SECONDS]].
#
# Containers see each file as it is on this machine, and run as other users. So the files are readable for all, and the directory around them
# is closed. The service sees the directory secrets/quittance as a whole, so that it finds files that were replaced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

mkdir -p secrets
chmod 700 secrets
cd secrets
mkdir -p quittance
chmod 755 quittance

# The binary, or the image that compose.yaml builds.
quittance() { ${QUITTANCE_BIN:-docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/secrets" --workdir /secrets quittance:0.1.0} "$@"; }

random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
have() { [ -s "$1" ] && echo "deploy/secrets/$1 is there already"; }
made() { chmod 444 "$1"; echo "deploy/secrets/$1 was made"; }

case ${1-} in
  '')
    have database-password || { random >database-password; made database-password; }
    have quittance/database-url || { printf 'postgres://quittance:%s@postgres/quittance' "$(cat database-password)" >quittance/database-url; made quittance/database-url; }
    have grafana-password || { random >grafana-password; made grafana-password; }
    have quittance/receipt-keys.json || { quittance keys generate --out quittance/receipt-keys.json; made quittance/receipt-keys.json; }
    [ -s quittance/base-1 ] ||
      echo "deploy/secrets/quittance/base-1 is missing: the key of a signer for Base, 64 hexadecimal digits (chmod 444)"
    ;;
  rotate)
    # Beside the keyring, which is replaced when the new one can be read by the service.
    cp quittance/receipt-keys.json receipt-keys.new
    quittance keys rotate --file receipt-keys.new --after "${2:-600}"
    chmod 444 receipt-keys.new
    mv -f receipt-keys.new quittance/receipt-keys.json
    ;;
  *)
    echo "secrets.sh [rotate [SECONDS]]" >&2
    exit 2
    ;;
esac
