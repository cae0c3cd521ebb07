#!/usr/bin/env bash
# Trains the weights that ship (their card: weights/README.md) from nothing, on phantoms alone, in three stages: SAM-Med3D on
# plainly bright lesions; then everything, with SGPMs, on lesions as contrast agent makes them and with correcting clicks,
# briefly with the Zoom Loss as it is, which finds them, then with little of its focal term, which finds their borders.
# Nearly two hours on two CPU cores. A run that was stopped goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs/weights}

train() {
  node dist/cli.js train --phantom-modality mr --phantom-anatomy head --lesion-weight diameter --first-click mixed \
    --clip 1 --val-phantoms 16 --validate-lesions 2 --train '*' --resume "$@"
}

train -o "$runs/small" --arm ft-dice --loss dice-ce --config small --init 1 \
  --phantoms 1000 --phantom-contrast bright --samples 5500 --stop-after 3300 --validate-every 1100 \
  --lr 5e-4 --schedule cosine:0.1 --warmup 200

train -o "$runs/found" --arm sgp-zoom --weights "$runs/small/weights.safetensors" \
  --phantoms 1000 --phantom-seed 2 --phantom-contrast enhancing --clicks 3 --samples 4800 --stop-after 800 \
  --validate-every 800 --lr 4e-4 --schedule cosine --warmup 100

train -o "$runs/sgp-small" --arm sgp-zoom --loss-term focal=0.15 --loss-term zeta=0.5 \
  --weights "$runs/found/weights.safetensors" \
  --phantoms 800 --phantom-seed 3 --phantom-contrast enhancing --clicks 3 --samples 3900 --validate-every 800 \
  --lr 3e-4 --schedule cosine --warmup 100

# Half precision: half the bytes; the card's scores are those of the files as they ship.
for name in small sgp-small; do
  node dist/cli.js convert --f16 "$runs/$name/weights.safetensors" "weights/$name.safetensors"
done
