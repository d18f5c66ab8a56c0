#!/usr/bin/env bash
# TaskRes: bash scripts/taskres/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# One residual per class. DATA, OUT, SEEDS: see scripts/lib/methods.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/methods.sh"
run_plain_method TaskRes "$@"
