#!/usr/bin/env bash
# Print the Python to use: the active one if it satisfies requirements.txt (or the file REQUIREMENTS), else that of .venv,
# which is made if needed. Set PYTHON to insist on another one.
#
#     bash scripts/setup.sh [REQUIREMENTS]
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
set -euo pipefail
unset CDPATH
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
REQUIREMENTS="$ROOT/${1:-requirements.txt}"

# satisfies PYTHON: whether it is 3.10 or newer and has the required version of every package.
satisfies() {
    "$1" - "$REQUIREMENTS" >/dev/null 2>&1 <<'PY'
import os
import re
import sys
from importlib.metadata import version


def numbers(text):
    found = re.findall(r"\d+", re.match(r"[\d.]*", text)[0])
    return [int(number) for number in [*found, 0, 0, 0, 0][:4]]


def lines(path):
    for line in open(path):
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            yield from lines(os.path.join(os.path.dirname(path), line[3:].strip()))
        elif line:
            yield line


assert sys.version_info >= (3, 10)
for line in lines(sys.argv[1]):
    # A name alone, or with >= or <. Packages that parse requirements may be missing, as in an environment made by uv.
    name, sign, bound = re.fullmatch(r"([\w-]+)\s*(?:(>=|<)\s*([\d.]+))?", line).groups()
    installed = numbers(version(name))
    assert not sign or (installed >= numbers(bound)) == (sign == ">="), line
PY
}

# base_python: a Python on the PATH for the virtual environment: python3 if the tests have seen its version, else the newest
# that they have seen, else a newer one.
base_python() {
    for newest in 14 99; do
        for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
            if "$name" -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null; then
                command -v "$name"
                return
            fi
        done
    done
    echo "error: no Python 3.10 or newer on the PATH" >&2
    exit 1
}

for candidate in ${PYTHON:-python python3 "$ROOT/.venv/bin/python"}; do
    if satisfies "$candidate"; then
        echo "Python: $(command -v "$candidate") ($("$candidate" --version 2>&1 | cut -d' ' -f2))" >&2
        command -v "$candidate"
        exit 0
    fi
done
if [ -n "${PYTHON:-}" ]; then
    echo "error: PYTHON=$PYTHON does not satisfy $REQUIREMENTS" >&2
    exit 1
fi
echo "Installing ${REQUIREMENTS##*/} into $ROOT/.venv (about 5 GB; once)" >&2
base="$(base_python)"
mkdir -p "$ROOT/.venv" 2>/dev/null && [ -w "$ROOT/.venv" ] || {
    echo "error: $ROOT/.venv cannot be written: copy the checkout to a folder of your own, or set PYTHON to a Python that" \
        "satisfies ${REQUIREMENTS##*/}" >&2
    exit 1
}
"$base" -m venv "$ROOT/.venv" >&2
"$ROOT/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$REQUIREMENTS" >&2
satisfies "$ROOT/.venv/bin/python" || { echo "error: the installation into $ROOT/.venv is not complete" >&2; exit 1; }
echo "Python: $ROOT/.venv/bin/python" >&2
echo "$ROOT/.venv/bin/python"
