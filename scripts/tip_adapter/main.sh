#!/usr/bin/env bash
# Tip-Adapter: bash scripts/tip_adapter/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# A cache of the shots; the data set must have validation images, or TRAINER.TIPADAPTER.SEARCH False.
# DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage tip_adapter
refuse_variant tip_adapter
run_method TipAdapter "" "" "$@"
