#!/usr/bin/env bash
# Trains the weights that ship (their card: weights/README.md) from nothing, on phantoms alone: first SAM-Med3D on plainly
# bright lesions, then everything with SGPMs on lesions as contrast agent makes them, with correcting clicks. About an
# hour and three quarters on two CPU cores. A run that was stopped goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs/weights}

common=(--phantom-modality mr --phantom-anatomy head --lesion-weight diameter --first-click mixed --clip 1
  --loss dice-ce --train '*' --resume)

node dist/cli.js train --arm ft-dice --config small --init 1 --phantoms 1000 --phantom-contrast bright \
  --val-phantoms 16 --validate-lesions 2 --validate-every 1100 \
  --samples 5500 --stop-after 3300 --lr 5e-4 --schedule cosine:0.1 --warmup 200 "${common[@]}" -o "$runs/small"

node dist/cli.js train --arm sgp-zoom --weights "$runs/small/weights.safetensors" --phantoms 1000 --phantom-seed 2 \
  --phantom-contrast enhancing --val-phantoms 16 --validate-lesions 2 --validate-every 1000 --clicks 3 \
  --samples 4500 --lr 4e-4 --schedule cosine --warmup 100 "${common[@]}" -o "$runs/sgp-small"

# Half precision: half the bytes; the card's scores are those of the files as they ship.
for name in small sgp-small; do
  node dist/cli.js convert --f16 "$runs/$name/weights.safetensors" "weights/$name.safetensors"
done
