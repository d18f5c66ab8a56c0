#!/usr/bin/env bash
# CLIP-LoRA: bash scripts/clip_lora/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# The updates are shared by all tasks. It is made for ViTs; the configs of ResNets update the text tower alone.
# DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage clip_lora
refuse_variant clip_lora
run_method CLIPLoRA "" "" "$@"
