#!/usr/bin/env bash
# MaPLe: bash scripts/maple/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# The prompts are shared by all tasks. CFG: vit_b16 (default) or vit_b32; it needs a ViT. DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage maple
DATASET="$1" SHOTS="$2"
shift 2
CFG=vit_b16
if [ $(($# % 2)) -eq 1 ]; then
    CFG="$1"
    shift
elif [ "$DATASET" = demo ]; then
    echo "error: the demo's CLIP is a ResNet and MaPLe needs a ViT; name one: bash scripts/maple/main.sh demo $SHOTS vit_b16" >&2
    exit 2
fi
run_method MaPLe "" "" "$DATASET" "$SHOTS" "$CFG" "$@"
