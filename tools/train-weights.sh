#!/usr/bin/env bash
# train-weights.sh RUNS DATA: trains the weights that ship (their card: weights/README.md) from nothing, as they were trained: SAM-Med3D
# on phantoms with plainly bright lesions, then everything, with SGPMs, on lesions as contrast agent makes them and with correcting clicks,
# in five stages that differ in the loss, in how many lesions there are and how large, and in the clicks; then at every scale, on real and
# synthetic lesions, in four; then the IoU head. About five hours and a half on two CPU cores. A run that was stopped goes on where it was. DATA has
# lesions.json and what it lists.
set -euo pipefail
cd "$(dirname "$0")/.."
usage='usage: train-weights.sh RUNS DATA'
runs=${1:?$usage}
data=${2:?$usage}
scope='{"modalities":["MR","CT","PET"],"organs":["brain","soft tissue"],"millilitres":[0.02,900]}'

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

# From here on every scale, real lesions and anatomy, values relative to the click, and the IoU head. $data is a folder with lesions.json and what it lists;
# the card says where each part comes from. What it marks 'test' is never read here.
node dist/cli.js convert --f16 "$runs/6/weights.safetensors" "$runs/6/half.safetensors"
# A list of the FLAIR images alone, which are few among the others.
mkdir -p "$runs/flair"
ln -sfn "$(cd "$data" && pwd)/open_ms_long" "$runs/flair/open_ms_long"
node -e 'const { readFileSync, writeFileSync } = require("node:fs"); const [from, to] = process.argv.slice(1);
  const own = JSON.parse(readFileSync(from, "utf8")).filter(({ image }) => image?.startsWith("open_ms_long/"));
  writeFileSync(to, JSON.stringify(own));' "$data/lesions.json" "$runs/flair/lesions.json"
real() {
  local name=$1 from=$2
  shift 2
  node dist/cli.js train -o "$runs/$name" --weights "$runs/$from.safetensors" --scale 0.08-1.3 --augment --preset sgp-sam --train '*' \
    --arm sgp-zoom --first-click mixed --lesion-weight diameter --clicks 3 --correction mixed --loss-term iou=0.3 "${sharp[@]}" --clip 1 \
    --schedule cosine:0.05 --warmup 30 --validate-every 0 --validate-lesions 1 --keep last --resume "$@"
}
real 7 6/half --data "$data/lesions.json=0.25" --data "anatomy:$data=0.4" --data "background:$data=0.25" --data "pet:$data=0.1" \
  --lr 2.5e-4 --samples 850 --seed 11
real 8 7/weights --data "$data/lesions.json=0.35" --data "anatomy:$data=0.3" --data "background:$data=0.2" --data "pet:$data=0.15" \
  --lr 3e-4 --samples 1000 --stop-after 136 --seed 12
real 9 8/weights --data "$data/lesions.json=0.25" --data "$runs/flair/lesions.json=0.15" --data phantoms=0.2 --phantoms 300 --val-phantoms 8 \
  --data "anatomy:$data=0.2" --data "background:$data=0.1" --data "pet:$data=0.1" --lr 3e-4 --samples 700 --seed 13
real 10 9/weights --data "$data/lesions.json=0.25" --data "$runs/flair/lesions.json=0.1" --data phantoms=0.2 --phantoms 400 \
  --phantom-contrast enhancing --phantom-seed 7 --val-phantoms 8 --data "anatomy:$data=0.2" --data "background:$data=0.13" \
  --data "pet:$data=0.12" --lr 3e-4 --samples 3200 --seed 14

# The IoU head by itself, on scales beyond those too, since it judges between them: a lesion that is a speck in its cube, and a piece of one that fills it. Masks
# stay what they are, to the bit.
node dist/cli.js convert --f16 "$runs/10/weights.safetensors" "$runs/10/half.safetensors"
real 11 10/half --train 'mask_decoder.iou_prediction_head.*' --scale 0.03-1.6 --lesion-weight uniform --clicks 2 --loss-term iou=1 --schedule cosine:0.03 \
  --data "$data/lesions.json=0.35" --data "$runs/flair/lesions.json=0.15" --data phantoms=0.1 --phantoms 400 --phantom-modality mr --phantom-anatomy head \
  --phantom-contrast enhancing --phantom-seed 51 --val-phantoms 8 --data "anatomy:$data=0.15" --data "background:$data=0.1" \
  --data "pet:$data=0.15" --lr 1e-3 --samples 2600 --seed 61

# Half precision: half the bytes; the card's scores are those of the files as they ship.
node dist/cli.js convert --f16 "$runs/1/weights.safetensors" weights/small.safetensors
node dist/cli.js convert --f16 --zoom auto --scope "$scope" "$runs/11/weights.safetensors" weights/sgp-small.safetensors
