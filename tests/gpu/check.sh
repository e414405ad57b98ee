#!/bin/sh
# The prepared check of a GPU: sh tests/gpu/check.sh [OUT.json] [--device cpu]
#
# It wants a Python with torch and CuPy for CUDA 13, and no network. What else is missing comes from gpu-wheels/, which
# `make gpu-wheels` fills on a machine with a network. Challenge cases in gpu-cases/ and ../shared/data are looked at.
set -eu
cd "$(dirname "$0")/../.."
out=gpu-check.json
case ${1:-} in
    '' | -*) ;;
    *) out=$1; shift ;;
esac
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python
fi
# What was carried comes after what is installed, and nothing of the machine's Python is changed.
carried=$(mktemp -d)
trap 'rm -rf "$carried"' EXIT
for wheel in gpu-wheels/*.whl; do
    [ ! -e "$wheel" ] || "$PYTHON" -m zipfile --extract "$wheel" "$carried"
done
for folder in gpu-cases ../shared/data; do
    [ ! -d "$folder" ] || set -- "$@" --cases "$folder"
done
export PYTHONPATH="$PWD/app${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONDONTWRITEBYTECODE=1
export LEXOR_CARRIED="$carried"
"$PYTHON" tests/gpu/check.py bench gpu "$out" --tests tests "$@"
