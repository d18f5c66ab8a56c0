#!/usr/bin/env bash
# ProtoNet: bash scripts/protonet/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# VARIANT: fixed (default: CLIP's scale of the logits), fine-tuned (a learned one). DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage protonet
VARIANT="${VARIANT:-fixed}"
case "$VARIANT" in
    fixed) FIXED="" ;;
    fine-tuned) FIXED="TRAINER.PROTONET.FINE_TUNED True" ;;
    *) echo "error: VARIANT=$VARIANT is not one of fixed, fine-tuned" >&2; exit 2 ;;
esac
run_method ProtoNet "$VARIANT" "$FIXED" "$@"
