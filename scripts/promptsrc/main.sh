#!/usr/bin/env bash
# PromptSRC: bash scripts/promptsrc/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# The prompts are shared by all tasks. It needs a ViT. DATA, OUT, SEEDS: see scripts/_common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../_common.sh"
[ $# -ge 2 ] || usage promptsrc
refuse_variant promptsrc
run_method PromptSRC "" "" "$@"
