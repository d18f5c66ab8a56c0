# Sourced by scripts: sets ROOT, the project's folder, and PYTHON, which may take an installation.
set -euo pipefail
unset CDPATH
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
PYTHON="${PYTHON:-$(bash "$ROOT/scripts/setup.sh")}"
