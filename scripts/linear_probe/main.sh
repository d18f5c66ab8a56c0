#!/usr/bin/env bash
# LinearProbe: bash scripts/linear_probe/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# A regression per task; the data set must have validation images. DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage linear_probe
refuse_variant linear_probe
run_method LinearProbe "" "" "$@"
