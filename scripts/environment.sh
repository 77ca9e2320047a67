# Sourced by the other scripts: makes the environment in $TOKEXT_VENV (default .venv), and sets that variable.
TOKEXT_VENV="${TOKEXT_VENV:-$PWD/.venv}"

_tokext_environment() {
    local python="${PYTHON:-python3}" stamp hash
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3" >&2
        return 1
    fi
    hash=$(cat pyproject.toml constraints.txt | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    stamp="$TOKEXT_VENV/.hf_tokext-environment"
    if [ -x "$TOKEXT_VENV/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then
        echo "environment: $TOKEXT_VENV (up to date)"
        return 0
    fi
    echo "environment: making $TOKEXT_VENV; the first time this downloads a few hundred megabytes"
    [ -x "$TOKEXT_VENV/bin/python" ] || "$python" -m venv "$TOKEXT_VENV" || return 1
    # torch by its pin first: the plain name would pull another build as somebody's dependency
    "$TOKEXT_VENV/bin/python" -m pip install --quiet --no-compile -c constraints.txt torch==2.13.0 || return 1
    "$TOKEXT_VENV/bin/python" -m pip install --quiet --no-compile -c constraints.txt -e ".[test,docs]" || return 1
    "$TOKEXT_VENV/bin/python" -m compileall -qq -j 0 "$TOKEXT_VENV/lib" || true # with all cores, where pip takes one; some files are of other Pythons
    echo "$hash" >"$stamp"
}

_tokext_environment
