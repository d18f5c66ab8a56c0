#!/usr/bin/env bash
# SoftCPT: bash scripts/softcpt/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# VARIANT: NATA (default), NATS, CATA, CATS, CSTA, CSTS. DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage softcpt
VARIANT="${VARIANT:-NATA}"
run_method SoftCPT "$VARIANT" "TRAINER.SOFTCPT.VARIANT $VARIANT" "$@"
