#!/usr/bin/env bash
# ProtoNet: bash scripts/protonet/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# VARIANT: fixed (default: the scale of the logits is CLIP's), fine-tuned (it is learned).
# DATA, OUT, SEEDS: see scripts/lib/methods.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/methods.sh"
VARIANT="${VARIANT:-fixed}" FIXED=""
case "$VARIANT" in
    fixed) ;;
    fine-tuned) FIXED="TRAINER.PROTONET.FINE_TUNED True" ;;
    *) fail "VARIANT=$VARIANT is not one of fixed, fine-tuned" ;;
esac
run_method ProtoNet "$VARIANT" "$FIXED" "$@"
