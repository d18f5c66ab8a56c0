#!/usr/bin/env bash
# All checks: bash scripts/test.sh [PYTEST OPTIONS]. Installs what it needs first. Without options the tests run in
# parallel, one process more than there are cores, since some tests wait, and 8 at most. Files run in the order of their
# names, after those that are marked as waiting, so that no long one comes last.
# COVERAGE=1 also prints which lines of softcpt, trainers, datasets and compat the tests run, and fails below 92 %.
# SYSTEM_PACKAGES=1 also installs, as root on Debian, the programs of a few tests that are skipped without them: a
# browser, which opens the reports, and SLURM.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
set -euo pipefail
unset CDPATH
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PROGRAMS="chromium chromium-driver slurm-wlm munge"
if [ "${SYSTEM_PACKAGES:-0}" = 1 ] && ! dpkg -s $PROGRAMS >/dev/null 2>&1; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $PROGRAMS; } \
        >/dev/null 2>&1 || echo "warning: $PROGRAMS cannot be installed; their tests are skipped" >&2
fi
PYTHON="$(bash "$ROOT/scripts/setup.sh" requirements-test.txt)"
cd "$ROOT"
[ -w . ] || export RUFF_NO_CACHE=true MYPY_CACHE_DIR=/dev/null # a checkout of somebody else
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy & # on one core, beside the start of the tests
TYPES=$!
unset PYTHONDONTWRITEBYTECODE  # otherwise each of hundreds of commands would compile the project anew
if [ $# -eq 0 ]; then
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    set -- -n "$(($(getconf _NPROCESSORS_ONLN) + 1))" --maxprocesses 8 --dist loadfile --no-loadscope-reorder \
        --durations 20
fi
if [ "${COVERAGE:-0}" = 1 ]; then
    # Python 3.12 has a way to count lines that costs next to nothing.
    "$PYTHON" -c "import sys; sys.exit(sys.version_info < (3, 12))" && export COVERAGE_CORE=sysmon
    set -- --cov=trainers --cov=datasets --cov=softcpt --cov=compat --cov-report=term:skip-covered \
        --cov-fail-under=92 "$@"
fi
"$PYTHON" -m pytest "$@"
wait "$TYPES"
