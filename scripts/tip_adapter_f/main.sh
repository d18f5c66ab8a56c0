#!/usr/bin/env bash
# Tip-Adapter-F: bash scripts/tip_adapter_f/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# Keys that are learned; the data set must have validation images, or TRAINER.TIPADAPTERF.SEARCH False.
# DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage tip_adapter_f
refuse_variant tip_adapter_f
run_method TipAdapterF "" "" "$@"
