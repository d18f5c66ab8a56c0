#!/usr/bin/env bash
# Tip-Adapter-F: bash scripts/tip_adapter_f/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# Keys that are learned; the data set must have validation images, or TRAINER.TIPADAPTERF.SEARCH False.
# DATA, OUT, SEEDS: see scripts/lib/methods.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/methods.sh"
run_plain_method TipAdapterF "$@"
