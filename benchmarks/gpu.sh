#!/bin/sh
# Run the GPU benchmark from a checkout, without installing it:
#
#     sh benchmarks/gpu.sh [--json FILE] [options of gpu.py]
#
# Torch must be there. Where other packages are not and there is no network, put their wheels into a folder and name it in
# WHEELS; PYTHON names another interpreter.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
path=$root/src
if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
    path=$path:$site
fi
PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 "$python" "$root/benchmarks/gpu.py" "$@"
