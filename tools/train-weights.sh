#!/usr/bin/env bash
# Trains the weights that ship (their card: weights/README.md) from nothing, on phantoms alone, as they were trained: SAM-Med3D
# on plainly bright lesions, then everything, with SGPMs, on lesions as contrast agent makes them and with correcting clicks,
# in five stages that differ in the loss, in how many lesions there are and how large, and in the clicks. About an hour and three quarters on
# two CPU cores. A run that was stopped goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs/weights}

train() {
  node dist/cli.js train --phantom-modality mr --phantom-anatomy head --lesion-weight diameter --first-click mixed \
    --clip 1 --val-phantoms 16 --validate-lesions 2 --train '*' --resume "$@"
}
# Stage, weights it begins from, and what differs.
stage() {
  local name=$1 from=$2
  shift 2
  train -o "$runs/$name" --arm sgp-zoom --weights "$runs/$from/weights.safetensors" \
    --phantom-contrast enhancing --clicks 3 --schedule cosine "$@"
}
sharp=(--loss-term focal=0.15 --loss-term zeta=0.5)

train -o "$runs/1" --arm ft-dice --loss dice-ce --config small --init 1 \
  --phantoms 1000 --phantom-contrast bright --samples 5500 --stop-after 3300 --validate-every 1100 \
  --lr 5e-4 --schedule cosine:0.1 --warmup 200
stage 2 1 --phantoms 1000 --phantom-seed 2 --samples 4800 --stop-after 800 --validate-every 800 --lr 4e-4 --warmup 100
stage 3 2 "${sharp[@]}" --phantoms 800 --phantom-seed 3 --samples 3900 --stop-after 1653 --keep last --validate-every 800 \
  --lr 3e-4 --warmup 100
stage 4 3 "${sharp[@]}" --phantoms 900 --phantom-seed 4 --phantom-lesions 1-2 --samples 2500 --stop-after 696 --keep last \
  --validate-every 500 --lr 2.5e-4 --warmup 50
stage 5 4 --phantoms 600 --phantom-seed 5 --phantom-lesions 1-2 --phantom-diameters 10-60 --samples 2900 --stop-after 1039 \
  --keep last --validate-every 500 --lr 2.5e-4 --warmup 50
stage 6 5 --phantoms 500 --phantom-seed 6 --phantom-lesions 1-2 --phantom-diameters 10-60 --samples 1500 --keep last \
  --validate-every 500 --lr 2.5e-4 --warmup 30 --clicks 5 --correction mixed

# Half precision: half the bytes; the card's scores are those of the files as they ship.
node dist/cli.js convert --f16 "$runs/1/weights.safetensors" weights/small.safetensors
node dist/cli.js convert --f16 "$runs/6/weights.safetensors" weights/sgp-small.safetensors
