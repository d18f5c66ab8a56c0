#!/usr/bin/env bash
# ProGrad: bash scripts/prograd/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# VARIANT: shared (default: one context for all tasks), per-task, per-class.
# DATA, OUT, SEEDS: see scripts/lib/methods.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/methods.sh"
run_context_method ProGrad "$@"
