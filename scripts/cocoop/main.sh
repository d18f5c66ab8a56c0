#!/usr/bin/env bash
# CoCoOp: bash scripts/cocoop/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# Context and meta network are shared by all tasks. DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage cocoop
refuse_variant cocoop
run_method CoCoOp "" "" "$@"
