# What scripts/<method>/main.sh share: one run of train.py per seed. Sourced, not called.
#
#     run_plain_method TRAINER "$@"      # a method without variants
#     run_context_method TRAINER "$@"    # one whose VARIANT says what a context belongs to
#     run_method TRAINER VARIANT "KEY VALUE ..." "$@"
#
# "$@" is DATASET SHOTS [CFG] [KEY VALUE ...]. Environment: DATA (folder of the data sets), OUT (results), SEEDS, VARIANT
# (of a method that has some), PYTHON, and SEPARATE=1: train once per task and merge the tasks' results into one record, as
# the paper's baselines are trained. experiments/sweeps/jobs.py has the same run folders and calls of train.py; a test compares
# them.

set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
CALLED_FROM="$PWD"
METHOD="$(basename "$(dirname "$0")")"

# fail MESSAGE: ends the script.
fail() { echo "error: $1" >&2; exit 2; }

# absolute PATH: relative to the folder of the call; a quoted ~, which no shell expanded, is the home folder.
absolute() {
    case "$1" in
        "~" | "~/"*) echo "$HOME${1:1}" ;;
        /*) echo "$1" ;;
        *) echo "$CALLED_FROM/$1" ;;
    esac
}
DATA="${DATA:+$(absolute "$DATA")}"; DATA="${DATA:-$ROOT/data}"
OUT="${OUT:+$(absolute "$OUT")}"; OUT="${OUT:-$ROOT/output}"
SEEDS="${SEEDS:-1 2 3}"
PYTHON="${PYTHON:-$(bash "$ROOT/scripts/setup.sh")}"
SEPARATE="${SEPARATE:-0}"
case "$SEPARATE" in 0 | 1) ;; *) fail "SEPARATE=$SEPARATE is not one of 0, 1" ;; esac

# names FOLDER: the yaml files there, without the ending.
names() { (cd "$ROOT/configs/$1" && ls) | sed 's/\.yaml$//' | tr '\n' ' '; }

# usage: how the script that sources this file is called.
usage() {
    echo "usage: bash scripts/$METHOD/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]" >&2
    echo "  DATASET: $(names datasets)" >&2
    exit 2
}

# wrong MESSAGE: says what is wrong with the arguments, and the usage.
wrong() {
    echo "error: $1" >&2
    usage
}

# keys_of TRAINER: the section of its config keys.
keys_of() { echo "TRAINER.$(tr '[:lower:]' '[:upper:]' <<<"$1")"; }

# check_arguments TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]: stops at what cannot be meant.
check_arguments() {
    local trainer="$1" dataset="$2" shots="$3"
    shift 3
    if [[ ! "$shots" =~ ^(-1|[0-9]+)$ && $# -ge 3 && "$3" =~ ^[0-9]+$ && "$dataset" != *[!A-Za-z0-9_]* ]]; then
        # CoOp's order: DATASET CFG CTP NCTX SHOTS CSC.
        local key="$(keys_of "$trainer")" variant=""
        case "${4:-}" in [Tt]rue) variant="VARIANT=per-class " ;; esac
        wrong "SHOTS is $shots: here the number of shots is the second argument and the config the third, not as in \
CoOp's scripts. That call here: ${variant}bash scripts/$METHOD/main.sh $dataset $3 $shots $key.N_CTX $2 \
$key.CLASS_TOKEN_POSITION $1"
    fi
    [ -f "$ROOT/configs/datasets/$dataset.yaml" ] || wrong "no data set $dataset"
    [[ "$shots" =~ ^(-1|[0-9]+)$ ]] || wrong "SHOTS is $shots; it is a number, -1 for all images"
    if [ $(($# % 2)) -eq 1 ]; then
        [ -f "$ROOT/configs/trainers/$trainer/$1.yaml" ] \
            || wrong "$trainer has no config $1; CFG is one of $(names "trainers/$trainer")"
        shift
    fi
    while [ $# -gt 0 ]; do
        [[ "$1" =~ ^[A-Z][A-Z0-9_]*\.[A-Z0-9_.]+$ ]] || wrong "$1 is no config key such as OPTIM.LR"
        shift 2
    done
}

# done_before FOLDER: says that the run is finished, with its result.
done_before() {
    local value
    value=$(sed -n 's/^ "metric": \([0-9.e+-]*\),$/\1/p' "$1/results.json")
    echo "done before: $1${value:+ ($(LC_ALL=C printf '%.1f' "$value") %, the mean over its tasks)}"
}

# refuse_variant: stops where VARIANT is set for a method that has none.
refuse_variant() {
    local instead=""
    [ -n "${VARIANT:-}" ] || return 0
    case "$METHOD" in
        plot) instead="; PROMPTS sets its number of prompts, TRAINER.PLOT.N" ;;
        zeroshot) instead="; TRAINER.ZEROSHOTCLIP.ENSEMBLE True averages several templates" ;;
    esac
    fail "VARIANT=$VARIANT: $METHOD has no variants$instead"
}

# default_config DATASET TRAINER: the config where none is named. Methods that tune the image tower start from a ViT.
default_config() {
    case "$2=$1" in
        MaPLe=demo | PromptSRC=demo | CLIPLoRA=demo) echo tiny_vit ;;
        MaPLe=* | PromptSRC=* | CLIPLoRA=*) echo vit_b16 ;;
        *=demo) echo tiny ;;
        *) echo rn50 ;;
    esac
}

# run_method TRAINER VARIANT "FIXED KEY VALUE ..." DATASET SHOTS [CFG] [KEY VALUE ...]
run_method() {
    [ $# -ge 5 ] || usage
    local trainer="$1" variant="$2" fixed="$3" dataset="$4" shots="$5"
    check_arguments "$trainer" "${@:4}"
    shift 5
    local cfg
    cfg=$(default_config "$dataset" "$trainer")
    if [ $(($# % 2)) -eq 1 ]; then cfg="$1"; shift; fi
    [ "$SEPARATE" = 0 ] || variant="separate${variant:+-$variant}"
    local label="$variant" i
    for ((i = 1; i < $#; i += 2)); do # each trailing pair makes it another variant
        local key="${!i}" j=$((i + 1))
        label="${label:+${label}_}${key##*.}-${!j//[^A-Za-z0-9.,=-]/-}"
        [ "$SEPARATE$key" != 1DATASET.TASKS ] \
            || fail "SEPARATE=1 trains on every task of the data set: DATASET.TASKS cannot be given"
    done
    local seed dir tasks="" folder name
    [ "$SEPARATE" = 0 ] || tasks="$("$PYTHON" "$ROOT/scripts/lib/tasks.py" "$dataset" --root "$DATA")"
    for seed in $SEEDS; do
        dir="$OUT/$dataset/$trainer/${cfg}_${shots}shots/${label:-default}${HALF:+/$HALF}/seed$seed"
        if [ "$SEPARATE" = 0 ] || [ -f "$dir/results.json" ]; then
            train_run "$dir" "" "$@"
            continue
        fi
        while IFS=$'\t' read -r folder name; do
            train_run "$dir/tasks/$folder" "$name" "$@" </dev/null
        done <<<"$tasks"
        "$PYTHON" "$ROOT/scripts/lib/tasks.py" "$dataset" --root "$DATA" --merge "$dir"
    done
}

# train_run FOLDER TASK [KEY VALUE ...]: calls train.py with run_method's settings, on one task, or on all if TASK is empty.
train_run() {
    local dir="$1" task="$2"
    shift 2
    if [ -f "$dir/results.json" ]; then
        done_before "$dir"
        return
    fi
    # base2new.sh sets HALF: base-classes or base-tasks to train, new-classes or new-tasks to evaluate what that learned.
    local half="" base load=()
    case "${HALF:-}" in
        *-classes) half="DATASET.SUBSAMPLE_CLASSES ${HALF%-*}" ;;
        *-tasks) half="DATASET.TASKS ${HALF%-*}" ;;
    esac
    if [[ "${HALF:-}" == new-* && "$trainer" != ZeroshotCLIP ]]; then
        base="/base-${HALF#new-}/"
        load=(--eval-only --model-dir "${dir/\/$HALF\//$base}")
    fi
    (cd "$ROOT" && "$PYTHON" train.py --root "$DATA" --seed "$seed" --trainer "$trainer" \
        --dataset-config-file "configs/datasets/$dataset.yaml" \
        --config-file "configs/trainers/$trainer/$cfg.yaml" --output-dir "$dir" \
        ${load[@]+"${load[@]}"} DATASET.NUM_SHOTS "$shots" FEATURES.DIR "$OUT/features" \
        ${label:+TRAINER.LABEL "$label"} ${task:+DATASET.TASKS "$task"} $half $fixed "$@")
}

# run_plain_method TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]
run_plain_method() {
    refuse_variant
    run_method "$1" "" "" "${@:2}"
}

# run_context_method TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]: VARIANT is shared (default: one context for all tasks),
# per-task or per-class.
run_context_method() {
    local variant="${VARIANT:-shared}" fixed=""
    case "$variant" in
        shared) ;;
        per-task) fixed="$(keys_of "$1").TSC True" ;;
        per-class) fixed="$(keys_of "$1").CSC True" ;;
        *) fail "VARIANT=$variant is not one of shared, per-task, per-class" ;;
    esac
    run_method "$1" "$variant" "$fixed" "${@:2}"
}
