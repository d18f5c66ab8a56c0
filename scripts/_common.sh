# Shared by scripts/<method>/main.sh: `run_method METHOD DATASET SHOTS [CFG] [KEY VALUE ...]` trains one run per seed.
# Environment: DATA (folder of the data sets), OUT (results), SEEDS, VARIANT (of a method that has some), PYTHON, and
# SEPARATE=1: train once per task and merge the tasks' results into one record, as the paper's baselines are trained.
# experiments/sweeps/jobs.py has the same run folders and calls of train.py; a test compares them.

set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CALLED_FROM="$PWD"

# absolute PATH: relative to the folder of the call, or to the home folder (a quoted ~, which no shell expanded).
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
case "$SEPARATE" in 0 | 1) ;; *) echo "error: SEPARATE=$SEPARATE is not one of 0, 1" >&2; exit 2 ;; esac

# names FOLDER: the yaml files there, without the ending.
names() { (cd "$ROOT/configs/$1" && ls) | sed 's/\.yaml$//' | tr '\n' ' '; }

# usage METHOD: how the script that sources this file is called.
usage() {
    echo "usage: bash scripts/$1/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]" >&2
    echo "  DATASET: $(names datasets)" >&2
    exit 2
}

# wrong METHOD MESSAGE: says what is wrong with the arguments, and the usage.
wrong() {
    echo "error: $2" >&2
    usage "$1"
}

# check_arguments METHOD TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]: stops where they cannot be meant.
check_arguments() {
    local method="$1" trainer="$2" dataset="$3" shots="$4"
    shift 4
    if [[ ! "$shots" =~ ^(-1|[0-9]+)$ && $# -ge 3 && "$3" =~ ^[0-9]+$ && "$dataset" != *[!A-Za-z0-9_]* ]]; then
        # CoOp's order: DATASET CFG CTP NCTX SHOTS CSC.
        local key="TRAINER.$(tr '[:lower:]' '[:upper:]' <<<"$trainer")" variant=""
        case "${4:-}" in [Tt]rue) variant="VARIANT=per-class " ;; esac
        wrong "$method" "SHOTS is $shots: here the number of shots is the second argument and the config the third, not \
as in CoOp's scripts. That call here: ${variant}bash scripts/$method/main.sh $dataset $3 $shots $key.N_CTX $2 \
$key.CLASS_TOKEN_POSITION $1"
    fi
    [ -f "$ROOT/configs/datasets/$dataset.yaml" ] || wrong "$method" "no data set $dataset"
    [[ "$shots" =~ ^(-1|[0-9]+)$ ]] || wrong "$method" "SHOTS is $shots; it is a number, -1 for all images"
    if [ $(($# % 2)) -eq 1 ]; then
        [ -f "$ROOT/configs/trainers/$trainer/$1.yaml" ] \
            || wrong "$method" "$trainer has no config $1; CFG is one of $(names "trainers/$trainer")"
        shift
    fi
    while [ $# -gt 0 ]; do
        [[ "$1" =~ ^[A-Z][A-Z0-9_]*\.[A-Z0-9_.]+$ ]] || wrong "$method" "$1 is no config key such as OPTIM.LR"
        shift 2
    done
}

# done_before FOLDER: says that it is, with the run's number.
done_before() {
    local value
    value=$(sed -n 's/^ "metric": \([0-9.e+-]*\),$/\1/p' "$1/results.json")
    echo "done before: $1${value:+ ($(LC_ALL=C printf '%.1f' "$value") %, the mean over its tasks)}"
}

# refuse_variant METHOD: stops where VARIANT is set for a method that has none.
refuse_variant() {
    local instead=""
    [ -n "${VARIANT:-}" ] || return 0
    case "$1" in
        plot) instead="; PROMPTS sets its number of prompts, TRAINER.PLOT.N" ;;
        zeroshot) instead="; TRAINER.ZEROSHOTCLIP.ENSEMBLE True averages several templates" ;;
    esac
    echo "error: VARIANT=$VARIANT: $1 has no variants$instead" >&2
    exit 2
}

# default_config DATASET TRAINER: the config file where none is named; methods that tune image towers have a ViT.
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
    local trainer="$1" variant="$2" fixed="$3" dataset="$4" shots="$5"
    check_arguments "$(basename "$(dirname "$0")")" "$trainer" "${@:4}"
    shift 5
    local cfg
    cfg=$(default_config "$dataset" "$trainer")
    if [ $(($# % 2)) -eq 1 ]; then cfg="$1"; shift; fi
    [ "$SEPARATE" = 0 ] || variant="separate${variant:+-$variant}"
    local label="$variant" i
    for ((i = 1; i < $#; i += 2)); do # each trailing pair makes it another variant
        local key="${!i}" j=$((i + 1))
        label="${label:+${label}_}${key##*.}-${!j//[^A-Za-z0-9.,=-]/-}"
        if [ "$SEPARATE$key" = 1DATASET.TASKS ]; then
            echo "error: SEPARATE=1 trains on every task of the data set: DATASET.TASKS cannot be given" >&2
            exit 2
        fi
    done
    local seed dir tasks="" folder name
    [ "$SEPARATE" = 0 ] || tasks="$("$PYTHON" "$ROOT/scripts/tasks.py" "$dataset" --root "$DATA")"
    for seed in $SEEDS; do
        dir="$OUT/$dataset/$trainer/${cfg}_${shots}shots/${label:-default}${HALF:+/$HALF}/seed$seed"
        if [ "$SEPARATE" = 0 ] || [ -f "$dir/results.json" ]; then
            train_run "$dir" "" "$@"
            continue
        fi
        while IFS=$'\t' read -r folder name; do
            train_run "$dir/tasks/$folder" "$name" "$@" </dev/null
        done <<<"$tasks"
        "$PYTHON" "$ROOT/scripts/tasks.py" "$dataset" --root "$DATA" --merge "$dir"
    done
}

# train_run FOLDER TASK [KEY VALUE ...]: a call of train.py with the settings of run_method, on all tasks or on one.
train_run() {
    local dir="$1" task="$2"
    shift 2
    if [ -f "$dir/results.json" ]; then
        done_before "$dir"
        return
    fi
    # HALF, of base2new.sh: base-classes or base-tasks, to train on; new-classes or new-tasks, for what was learned there.
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

# run_context_method TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]: a method whose VARIANT is what its contexts belong to:
# shared (default: one context for all tasks), per-task or per-class.
run_context_method() {
    local trainer="$1" variant="${VARIANT:-shared}" fixed=""
    shift
    case "$variant" in
        shared) ;;
        per-task) fixed="TRAINER.$(tr '[:lower:]' '[:upper:]' <<<"$trainer").TSC True" ;;
        per-class) fixed="TRAINER.$(tr '[:lower:]' '[:upper:]' <<<"$trainer").CSC True" ;;
        *) echo "error: VARIANT=$variant is not one of shared, per-task, per-class" >&2; exit 2 ;;
    esac
    run_method "$trainer" "$variant" "$fixed" "$@"
}
