#!/usr/bin/env bash
# Makes a virtual environment with every version pinned, and this package in it.
#   scripts/setup.sh .venv -e '.[lab,dev,zoo,triton]' what `make` uses: the working tree itself
#   scripts/setup.sh DIR dist/exnihilo-*.whl      a built wheel, core dependencies only
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
shift

python=""
for candidate in "${PYTHON:-}" python3.11 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "No Python 3.11 or newer was found: neither python3.11 nor python3 is one." >&2
    echo "  Fix: install it (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11" >&2
    exit 2
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$($python --version) has no venv module." >&2
    echo "  Fix: apt-get install python3-venv" >&2
    exit 2
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
constraints=$venv/constraints.txt
install() { "$venv/bin/python" -m pip install -qq -c "$constraints" "$@"; }

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

# torch first and alone: the CPU build where the configured index has one by that name, else the index's own, which
# brings the Triton that it was made with, whichever is pinned.
torch=$(grep '^torch==' constraints.txt)
cp constraints.txt "$constraints"
leave_triton_open() { grep -v '^triton==' constraints.txt >"$constraints"; }
if ! "$venv/bin/python" -m pip show -qq torch 2>/dev/null; then
    echo "exnihilo: installing $torch and the rest into $venv (once, some minutes)"
    install "$torch+cpu" 2>/dev/null || { leave_triton_open && install "$torch"; }
fi
version=$("$venv/bin/python" -m pip show torch)  # whole: grep would close the pipe on pip
grep -q "^Version: .*+cpu" <<<"$version" || leave_triton_open
install "$@"
