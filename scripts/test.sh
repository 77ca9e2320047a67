#!/usr/bin/env bash
# Every check of the project, on a machine that has only Python 3.11 or newer.
#
#     bash scripts/test.sh              # all checks
#     bash scripts/test.sh -k rows      # the same; what follows goes to pytest
#
# Makes its own environment (.venv, or $TOKEXT_VENV) the first time; later runs reuse it as long as
# pyproject.toml and constraints.txt are what it was made from.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
source scripts/environment.sh || exit 1

# Nothing is fetched from the Hub, and two test processes share two cores without fighting over threads.
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MPLBACKEND=Agg

failed=()
check() {
    local name=$1
    shift
    local started=$SECONDS
    printf '\n== %s: %s\n' "$name" "${*##*/}"
    "$@" || failed+=("$name")
    printf '   %s s\n' "$((SECONDS - started))"
}

bin="$TOKEXT_VENV/bin"

types=$(mktemp)
trap 'rm -f "$types"' EXIT
"$bin/mypy" >"$types" 2>&1 & # takes a minute of one core: beside the others
checker=$!
checked_types() {
    wait "$checker"
    local code=$?
    cat "$types"
    return "$code"
}

check "lint" "$bin/ruff" check .
check "format" "$bin/ruff" format --check .
check "docstrings" "$bin/pydoclint" --quiet hf_tokext
check "floors" "$bin/lint-imports" --no-cache
check "tests" "$bin/pytest" -n 2 --dist worksteal "$@"
check "types" checked_types

if ((${#failed[@]})); then
    printf '\nfailed: %s\n' "${failed[*]}"
    exit 1
fi
printf '\nall checks passed in %s s\n' "$SECONDS"
