#!/usr/bin/env bash
# Base-to-new: bash scripts/base2new.sh METHOD DATASET SHOTS [CFG] [KEY VALUE ...]
# Trains METHOD (softcpt, coop, ...: a folder of scripts/) on the base classes of every task, evaluates it and zero-shot
# CLIP on the base and the new classes, and prints both accuracies and their harmonic mean H per task, over SEEDS.
# TASKS=1 splits the tasks instead of the classes; SoftCPT derives the contexts of new tasks from their names alone.
# Finished runs are skipped, interrupted ones resumed. VARIANT, DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" base2new "$@"
