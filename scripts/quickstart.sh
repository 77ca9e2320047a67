#!/usr/bin/env bash
# The main job on a real model, on a machine that has only Python 3.11 or newer: gives SmolLM2-135M a tokenizer
# for Python code, says what was gained and lost, and heals it for a few minutes.
#
#     bash scripts/quickstart.sh [OUT]      # OUT: folder for the results, default ./out/quickstart
set -eu
out="${1:-out/quickstart}"
case "$out" in /*) ;; *) out="$PWD/$out" ;; esac  # macOS has no realpath -m
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
exec "$TOKEXT_VENV/bin/python" scripts/quickstart.py "$out"
