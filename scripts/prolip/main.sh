#!/usr/bin/env bash
# ProLIP: bash scripts/prolip/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# One projection of the image tower for all tasks.
# DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage prolip
refuse_variant prolip
run_method ProLIP "" "" "$@"
