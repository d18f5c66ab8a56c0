#!/usr/bin/env bash
# Zero-shot CLIP: bash scripts/zeroshot/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# It learns nothing, so whatever SHOTS and SEEDS say there is one run, of 0 shots. DATA, OUT: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 1 ] || usage zeroshot
[[ "${2:-0}" =~ ^(-1|[0-9]+)$ ]] || wrong zeroshot "SHOTS is $2; it is a number"
refuse_variant zeroshot
DATASET="$1"
shift $(($# > 1 ? 2 : 1))
SEEDS=1 run_method ZeroshotCLIP "" "" "$DATASET" 0 "$@"
