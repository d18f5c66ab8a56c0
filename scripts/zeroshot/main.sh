#!/usr/bin/env bash
# Zero-shot CLIP: bash scripts/zeroshot/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# It learns nothing: it makes one run with 0 shots, whatever SHOTS and SEEDS are. DATA, OUT: see scripts/lib/methods.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/methods.sh"
[ $# -ge 1 ] || usage
[[ "${2:-0}" =~ ^(-1|[0-9]+)$ ]] || wrong "SHOTS is $2; it is a number"
SEEDS=1 run_plain_method ZeroshotCLIP "$1" 0 "${@:3}"
