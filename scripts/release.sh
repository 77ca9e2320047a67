#!/usr/bin/env bash
# Checks before a release: builds wheel and sdist into dist/, tries the wheel in an empty environment,
# runs the quickstart, then the long tests.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

echo "== build"
rm -rf dist
"$TOKEXT_VENV/bin/python" -m pip install --quiet build
"$TOKEXT_VENV/bin/python" -m build --outdir dist .

echo "== the wheel in an empty environment"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet -c constraints.txt torch==2.13.0
"$scratch/venv/bin/python" -m pip install --quiet -c constraints.txt dist/*.whl
sources=$PWD
cd "$scratch" # away from the sources, so that the wheel is what gets imported
"$scratch/venv/bin/python" "$sources/scripts/bench_import.py"
cd "$sources"

echo "== quickstart"
bash scripts/quickstart.sh

echo "== long tests"
"$TOKEXT_VENV/bin/pytest" -m long
echo "ready to release: $(ls dist)"
