#!/usr/bin/env bash
# ProGrad: bash scripts/prograd/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# VARIANT: shared (default: one context for all tasks), per-task, per-class. DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage prograd
VARIANT="${VARIANT:-shared}"
case "$VARIANT" in
    shared) FIXED="" ;;
    per-task) FIXED="TRAINER.PROGRAD.TSC True" ;;
    per-class) FIXED="TRAINER.PROGRAD.CSC True" ;;
    *) echo "error: VARIANT=$VARIANT is not one of shared, per-task, per-class" >&2; exit 2 ;;
esac
run_method ProGrad "$VARIANT" "$FIXED" "$@"
