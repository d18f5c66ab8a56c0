#!/usr/bin/env bash
# Base-to-new: bash scripts/base2new.sh METHOD DATASET SHOTS [CFG] [KEY VALUE ...]
# Trains METHOD (softcpt, coop, ...: a folder of scripts/) on the base classes of every task, evaluates it and zero-shot
# CLIP on the base and the new classes, and prints both accuracies and their harmonic mean H per task, over SEEDS.
# TASKS=1 splits the tasks instead of the classes; SoftCPT derives the contexts of new tasks from their names alone.
# Finished runs are skipped, interrupted ones resumed. VARIANT, DATA, OUT, SEEDS: see scripts/lib/methods.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/lib/methods.sh"
METHODS=$(cd "$ROOT/scripts" && ls -d */ | while read -r name; do [ ! -f "$name/main.sh" ] || printf '%s ' "${name%/}"; done)
if [ $# -lt 3 ]; then
    echo "usage: [TASKS=1] bash scripts/base2new.sh METHOD DATASET SHOTS [CFG] [KEY VALUE ...]" >&2
    echo "  METHOD: $METHODS" >&2
    exit 2
fi
METHOD="$1" DATASET="$2" SHOTS="$3"
shift 3
[ -f "$ROOT/scripts/$METHOD/main.sh" ] || fail "no method $METHOD; one of $METHODS"
[ "$METHOD" = zeroshot ] || check_shots "$SHOTS"
HALVES=$([ "${TASKS:-0}" = 0 ] && echo classes || echo tasks)
[ "$SEPARATE$HALVES" != 1tasks ] || fail "SEPARATE=1 trains on each task alone, which learns nothing for new tasks"

# Parameters that were learned for each class, or for each task, are of no use for new ones.
POSSIBLE="SoftCPT NATA and CATA, CoOp, KgCoOp and ProGrad with one shared context, CoCoOp, PLOT, "
POSSIBLE+="MaPLe, PromptSRC, CLIP-LoRA and ProLIP can"
refuse() { fail "$1 learns parameters of their own for each $2, which do not serve new $HALVES; $POSSIBLE"; }
check() { # KEY VALUE
    case "$1=$2" in
        CSC=[Tt]rue | CSC=1 | VARIANT=per-class | VARIANT=CST?) refuse "$METHOD with $1 $2" class ;;
        TSC=[Tt]rue | TSC=1 | VARIANT=per-task | VARIANT=??TS | TASK_FEATURES=learned)
            [ $HALVES = classes ] || refuse "$METHOD with $1 $2" task ;;
    esac
}
case "$METHOD" in linear_probe | lp_plus_plus | protonet | taskres | tip_adapter | tip_adapter_f) refuse "$METHOD" class ;; esac
case "$METHOD" in plot | cocoop | maple | promptsrc | clip_lora | prolip | zeroshot) refuse_variant ;; esac
check VARIANT "${VARIANT:-}"
CFG="" DATA_KEYS=()
[ $(($# % 2)) -eq 0 ] || { CFG="$1"; shift; }
for ((i = 1; i < $#; i += 2)); do
    j=$((i + 1)) key="${!i}"
    check "${key##*.}" "${!j}"
    case "$key" in DATASET.* | INPUT.* | MODEL.*) DATA_KEYS+=("$key" "${!j}") ;; esac
done
case "$METHOD" in
    maple | promptsrc | clip_lora) CFG="${CFG:-$(default_config "$DATASET" MaPLe)}" ;; # of zero-shot CLIP, too
esac

find_python
export DATA OUT SEEDS PYTHON SEPARATE AGAIN
for HALF in base-$HALVES new-$HALVES; do
    export HALF
    env -u VARIANT -u SEPARATE bash "$ROOT/scripts/zeroshot/main.sh" "$DATASET" ${CFG:+"$CFG"} ${DATA_KEYS[@]+"${DATA_KEYS[@]}"}
    [ "$METHOD" = zeroshot ] || bash "$ROOT/scripts/$METHOD/main.sh" "$DATASET" "$SHOTS" ${CFG:+"$CFG"} "$@"
done
"$PYTHON" "$ROOT/scripts/base2new.py" "$OUT/$(benchmark_folder "$DATASET")" --halves $HALVES --shots "$SHOTS"
