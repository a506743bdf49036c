#!/usr/bin/env bash
# The whole training of the pocket model on one GPU: draws the world, trains every stage, exports, measures.
#
# Settings, all by environment variables:
#   PYTHON   interpreter with torch (CUDA), diffusers, transformers, opencv                  (python3)
#   WORK     folder of stills and checkpoints; the same folder again goes on with the training (/tmp/pocket-train)
#   RESULT   folder for what is to be kept: the weights in parts of 15 MB, report, figures   ($WORK/result)
#   CONFIG   settings                                                                        (benchmarks/pocket_gpu.yaml)
#   MINUTES  of each learning stage                          (VAE 1.5, JUDGE 0.6, CLIP 0.8, DENOISER 4.5)
#   INIT     model folder to start from instead of random weights                            (none)
#   STAGES   which stages to run, in this order   ("tokenizer draw vae latents judge clip denoiser export measure")
#
# A second command with larger minutes and the same WORK resumes every stage where it stopped. Unpack the weights with
#   cat RESULT/weights.tar.part-* | tar -x -C src/faircut/pocket
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
WORK=${WORK:-/tmp/pocket-train}
RESULT=${RESULT:-$WORK/result}
CONFIG=${CONFIG:-benchmarks/pocket_gpu.yaml}
VAE=${VAE:-1.5}
JUDGE=${JUDGE:-0.6}
CLIP=${CLIP:-0.8}
DENOISER=${DENOISER:-4.5}
INIT=${INIT:-}
STAGES=${STAGES:-tokenizer draw vae latents judge clip denoiser export measure}
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$WORK" "$RESULT"

stage() { # name [minutes]
  "$PYTHON" -m faircut.pocket.train --stage "$1" ${2:+--minutes "$2"} --config "$CONFIG" --output "$WORK" \
    ${INIT:+--init-from "$INIT"}
}

keep() { # what there is, in files small enough to travel
  cp "$WORK"/report.json "$WORK"/report.png "$RESULT"/ 2>/dev/null || true
  local last
  last=$(ls "$WORK"/checkpoints/denoiser/preview-*.png 2>/dev/null | tail -n 1 || true)
  [ -z "$last" ] || cp "$last" "$RESULT"/samples.png
  rm -f "$RESULT"/weights.tar.part-*
  [ ! -d "$WORK"/weights ] || tar -c -C "$WORK" weights | split -b 15000000 - "$RESULT"/weights.tar.part-
}
trap keep EXIT

for name in $STAGES; do
  case $name in
    vae) stage vae "$VAE" ;;
    judge) stage judge "$JUDGE" ;;
    clip) stage clip "$CLIP" ;;
    denoiser) stage denoiser "$DENOISER" ;;
    measure)
      keep
      "$PYTHON" -m faircut.pocket.evaluate --model "$WORK/weights" --device cuda --part vae --part judge --part clip \
        --part generated --json "$RESULT/figures.json" --sheets "$WORK/sheets"
      ;;
    *) stage "$name" ;;
  esac
done
