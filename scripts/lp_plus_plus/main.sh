#!/usr/bin/env bash
# LP++: bash scripts/lp_plus_plus/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# A probe per task that blends image and text features.
# DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage lp_plus_plus
refuse_variant lp_plus_plus
run_method LPPlusPlus "" "" "$@"
