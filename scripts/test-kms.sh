#!/usr/bin/env bash
# Payments by a key in AWS KMS, as moto has it: another implementation, which looks at who signed each call.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh postgres node kms
export QUITTANCE_MOTO_PYTHON="$TOOLS/kms/bin/python"
cargo test --locked --package quittance --test api -- --ignored signers::kms
