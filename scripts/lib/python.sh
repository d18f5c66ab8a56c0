# Sourced by scripts: sets ROOT, the project's folder, and PYTHON, which may take an installation.
set -euo pipefail
unset CDPATH
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
PYTHON="${PYTHON:-$(bash "$ROOT/scripts/setup.sh")}"
# absolute PATH: a leading ~ that was quoted, so not expanded, is the home folder.
absolute() { case "$1" in "~/"*) echo "$HOME/${1:2}" ;; /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
