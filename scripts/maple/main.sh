#!/usr/bin/env bash
# MaPLe: bash scripts/maple/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# The prompts are shared by all tasks. It needs a ViT. DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage maple
refuse_variant maple
run_method MaPLe "" "" "$@"
