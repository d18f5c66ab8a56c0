#!/usr/bin/env bash
# TaskRes: bash scripts/taskres/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# Every class has a residual of its own. DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage taskres
refuse_variant taskres
run_method TaskRes "" "" "$@"
