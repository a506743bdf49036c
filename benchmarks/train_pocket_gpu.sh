#!/usr/bin/env bash
# The whole training of the pocket model on one GPU: draws the world, trains every stage, exports, measures.
#
# Settings, all by environment variables:
#   PYTHON   interpreter with torch (CUDA), diffusers, transformers, opencv, typer           (python3)
#   WORK     folder of stills and checkpoints; the same folder again goes on with the training (/tmp/pocket-train)
#   RESULT   folder for what is to be kept: the weights in parts of 15 MB, report, figures   ($WORK/result)
#   CONFIG   settings, among them the minutes of every stage                   (benchmarks/pocket_gpu.yaml)
#   STAGES   which stages to run           ("tokenizer draw vae decoder latents denoiser painted judge clip export")
#   MINUTES  for the stages named, in place of the configuration's                           (none)
#   INIT     model folder to start from instead of random weights                            (none)
#   SCALE    share of the full evaluation; 0 leaves it out                                    (0.3)
#
# A stage that has used up its minutes is not trained again. In two commands with the same WORK there is more for the
# denoiser: first STAGES="tokenizer draw vae decoder latents" SCALE=0, about three minutes, then
# STAGES="denoiser painted judge clip export". Then STAGES="denoiser export" MINUTES=16 goes on where it stopped. Unpack with
#   cat RESULT/weights.tar.part-* | tar -x -C src/faircut/pocket
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
WORK=${WORK:-/tmp/pocket-train}
RESULT=${RESULT:-$WORK/result}
CONFIG=${CONFIG:-benchmarks/pocket_gpu.yaml}
STAGES=${STAGES:-tokenizer draw vae decoder latents denoiser painted judge clip export}
MINUTES=${MINUTES:-}
INIT=${INIT:-}
SCALE=${SCALE:-0.3}
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$WORK" "$RESULT"

keep() { # what there is, in files small enough to travel
  cp "$WORK"/report.json "$WORK"/report.png "$RESULT"/ 2>/dev/null || true
  local last
  last=$(ls "$WORK"/checkpoints/denoiser/preview-*.png 2>/dev/null | tail -n 1 || true)
  [ -z "$last" ] || cp "$last" "$RESULT"/samples.png
  rm -f "$RESULT"/weights.tar.part-*
  [ ! -d "$WORK"/weights ] || tar -c -C "$WORK" weights | split -b 15000000 - "$RESULT"/weights.tar.part-
}
trap keep EXIT

# shellcheck disable=SC2086 # STAGES is a list of words
"$PYTHON" -m faircut pocket train $(printf -- '--stage %s ' $STAGES) ${MINUTES:+--minutes "$MINUTES"} \
  --config "$CONFIG" --output "$WORK" ${INIT:+--init-from "$INIT"}
keep
if [ "$SCALE" != 0 ] && [ -d "$WORK"/weights ]; then
  "$PYTHON" -m faircut pocket evaluate --model "$WORK/weights" --device cuda --scale "$SCALE" \
    --part vae --part judge --part clip --part generated --json "$RESULT/figures.json" --sheets "$WORK/sheets"
fi
