#!/usr/bin/env bash
# Ten minutes of any GPU: is this engine right there, how fast, and against PyTorch on the same card. Most valuable first; every part
# has a limit of its own, one that fails stops no other; the summary comes last (docs/hardware.md).
#
#   npm run build && bash bench/gpu-run.sh [--adapter NAME] [--parts LIST] [--seconds N] [--quick] [--out FOLDER]
#       --adapter   hardware (the default), lavapipe, …
#       --parts     of these, in any order, separated by commas: doctor parity matrix encode torch decode tune ops variants gates train
#       --seconds   for everything together: 600
#       --quick     a rehearsal: small models, one run each
#       --out       where the folder of results is made: out/gpu; its name has date and device
#   bash bench/gpu-run.sh --pack FILE.tar
#       everything that a bare x86-64 Linux machine needs besides its driver (Node, Dawn, the Vulkan loader where apt has it, this build, the
#       fixtures of ../shared): carry it there, then   tar xf FILE.tar && bash bench/gpu-run.sh
set -u
cd "$(dirname "$0")/.."
adapter=hardware parts=doctor,parity,matrix,encode,torch,decode,tune,ops,variants,gates,train seconds=600 quick='' base=out/gpu pack=''
usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1; shift; continue ;;
    --adapter | --parts | --seconds | --out | --pack) [ $# -gt 1 ] || usage ;;
    *) usage ;;
  esac
  case $1 in --adapter) adapter=$2 ;; --parts) parts=$2 ;; --seconds) seconds=$2 ;; --out) base=$2 ;; --pack) pack=$2 ;; esac
  shift 2
done
for part in ${parts//,/ }; do
  case $part in doctor | parity | matrix | encode | torch | decode | tune | ops | variants | gates | train) ;; *) echo "no part '$part'" >&2; usage ;; esac
done
case $seconds in '' | *[!0-9]*) usage ;; esac
[ -f dist/cli.js ] || { echo 'there is no dist/cli.js: npm run build' >&2; exit 1; }

if [ -n "$pack" ]; then
  set -e
  scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
  mkdir -p "$scratch/.gpu" "$scratch/fixtures"
  xz -T0 -c "$(readlink -f "$(command -v node)")" >"$scratch/.gpu/node.xz"
  (cd "$scratch/.gpu" && apt-get download -qq libvulkan1 2>/dev/null) || echo 'no libvulkan1 packed: the machine must have one' >&2
  cp ../shared/fixtures/{zoom_loss,sam_med3d_tiny,sgp_sam_tiny,sam_med3d_vit_b_ori,sgp_sam_vit_b_ori}.safetensors "$scratch/fixtures/" 2>/dev/null ||
    echo 'no fixtures packed: there is no ../shared/fixtures' >&2
  tar cf "$pack" --exclude=dist/types --exclude=dist/viewer --exclude='dist/*.map' --exclude='dist/darwin*' --exclude='dist/win32*' --exclude='dist/linux-arm64' \
    -C "$scratch" .gpu fixtures -C "$PWD" package.json dist bench weights/sgp-small.safetensors weights/README.md \
    node_modules/webgpu node_modules/debug node_modules/ms
  du -h "$pack"
  exit 0
fi

if [ -f .gpu/node.xz ] && [ ! -x .gpu/bin/node ]; then # unpacked on a bare machine
  mkdir -p .gpu/bin && xz -dc .gpu/node.xz >.gpu/bin/node && chmod +x .gpu/bin/node
  if ! ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'; then
    for file in .gpu/libvulkan1*.deb; do [ -f "$file" ] && dpkg -x "$file" .gpu/vulkan; done
  fi
fi
[ -x .gpu/bin/node ] && export PATH=$PWD/.gpu/bin:$PATH
[ -d .gpu/vulkan ] && export LD_LIBRARY_PATH=$PWD/.gpu/vulkan/usr/lib/x86_64-linux-gnu:${LD_LIBRARY_PATH:-}
# Where containers of NVIDIA's keep the driver's manifest, which the loader does not look at.
nvidia=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
[ -f "$nvidia" ] && export VK_DRIVER_FILES=${VK_DRIVER_FILES:-$nvidia}
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp} SGP_SAM_TUNED=off

begun=$SECONDS
# What the device is: into the folder of results, and as a part of its name.
started_at=$(date -u +%Y-%m-%dT%H%M%S)
told=$(mktemp)
timeout 60 node -e "import('./dist/node.js').then(async ({ openDevice }) => {
  const [adapter, file] = process.argv.slice(1);
  const gpu = await openDevice({ adapter, features: 'experimental' });
  const { adapter: found, tier } = gpu;
  const { version, platform, arch } = process;
  fs.writeFileSync(file, JSON.stringify({ adapter: found, tier, node: version, platform, arch, date: new Date() }, null, 1) + '\n');
  console.log((found.device || found.description || found.vendor).replace(/[^\w.]+/g, '-'));
  gpu.dispose();
})" "$adapter" "$told" >"$told.name" 2>"$told.errors" && slug=$(grep -v '^Warning' "$told.name" | tail -n 1) || slug=no-device
out=$base/$started_at-$slug
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
if [ -s "$told" ]; then mv "$told" "$out/device.json"; else cat "$told.errors" >"$out/device-errors.txt"; fi
rm -f "$told" "$told.name" "$told.errors"
summary=$out/summary.txt
echo "sgp-sam $(git rev-parse --short HEAD 2>/dev/null || echo "$(node -p 'require("./package.json").version')") on $slug, $(date -u +%Y-%m-%d), --adapter $adapter${quick:+, --quick}" >"$summary"

# NAME LIMIT COMMAND…: its own limit, or what is left.
failed=0
part() {
  local name=$1 limit=$2 left=$((seconds - SECONDS + begun)) started=$SECONDS code; shift 2
  if [ "$left" -lt 5 ]; then
    printf '%-28s not begun: the time is up\n' "$name" >>"$summary"
    return
  fi
  echo "$name" >&2
  timeout -k 5 "$((limit < left ? limit : left))" "$@" >"$out/$name.txt" 2>&1
  code=$?
  [ $code -eq 0 ] || failed=$((failed + 1))
  # What took how long of a profile, else the last line that says something.
  printf '%-28s %s %4s s  %s\n' "$name" "$([ $code -eq 0 ] && echo 'ok      ' || { [ $code -ge 124 ] && echo 'time up ' || echo "exit $code  "; })" \
    $((SECONDS - started)) "$( (grep -m1 '^one run' "$out/$name.txt" || grep -vE '^ *$|^Warning|^wrote ' "$out/$name.txt" | tail -n 1) | sed 's|^ *||' | cut -c1-120)" >>"$summary"
}
cli() { local name=$1 limit=$2; shift 2; part "$name" "$limit" node dist/cli.js "$@" --adapter "$adapter" -q; }
fixtures=fixtures; [ -d fixtures ] || fixtures=../shared/fixtures

big=sgp-vit_b_ori plain=vit_b_ori runs=10 names='zoom_loss sam_med3d_tiny sgp_sam_tiny sam_med3d_vit_b_ori sgp_sam_vit_b_ori'
[ -n "$quick" ] && big=sgp-small plain=small runs=1 names='zoom_loss sam_med3d_tiny'
matrix='--features experimental --variant matmul=matrix' attention='--features experimental --variant attention=matrix'
parities() { # suffix, options
  local suffix=$1 name; shift
  for name in $names; do
    [ "$suffix$name" = -matrixzoom_loss ] && continue # a loss has no matmul
    if [ -f "$fixtures/$name.safetensors" ]; then part "parity-$name$suffix" 90 node dist/cli.js parity "$fixtures/$name.safetensors" --adapter "$adapter" -q "$@"
    else printf '%-28s not begun: there is no %s\n' "parity-$name$suffix" "$fixtures/$name.safetensors" >>"$summary"; fi
  done
}
profile() { local name=$1 limit=$2; shift 2; cli "$name" "$limit" profile "$@" --no-tuned --json "$out/$name.json"; }

for chosen in ${parts//,/ }; do
  case $chosen in
    doctor)
      command -v nvidia-smi >/dev/null && part nvidia-smi 20 nvidia-smi
      part doctor 60 node dist/cli.js doctor --features experimental ;;
    parity) parities '' ;;
    # shellcheck disable=SC2086 # options
    matrix)
      if [ -f "$out/device.json" ] && grep -q '"subgroupMatrices": \[\]' "$out/device.json"; then
        printf '%-28s not begun: this device multiplies no subgroup matrices\n' matrix >>"$summary"
        continue
      fi
      parities -matrix $matrix
      profile encode-matrix 60 encode --config $plain --runs $runs $matrix
      names=sam_med3d_$([ -n "$quick" ] && echo tiny || echo vit_b_ori) parities -attention $attention
      profile encode-attention 60 encode --config $plain --runs $runs $attention ;;
    encode)
      for config in $plain $big; do profile "encode-$config" 60 encode --config "$config" --runs $runs; done ;;
    torch)
      if ! python3 -c 'import torch' 2>/dev/null; then printf '%-28s not begun: no PyTorch here\n' torch >>"$summary"
      elif [ -n "$quick" ]; then part torch-fp32 120 python3 bench/peers/torch_ops.py 0 cpu fp32 matmul
      else for precision in fp32 tf32 autocast; do part "torch-$precision" 60 python3 bench/peers/torch_ops.py 2 cuda $precision; done; fi ;;
    decode) profile decode 60 decode --config $plain --runs $runs ;;
    tune)
      SGP_SAM_TUNED=$out/tuned cli tune 150 tune --config $plain --work encode,decode
      SGP_SAM_TUNED=$out/tuned cli encode-tuned 60 profile encode --config $plain --runs $runs --json "$out/encode-tuned.json" ;;
    ops) part ops 90 node bench/ops.mjs "$adapter" $((quick ? 1 : 5)) ${quick:+"matmul 512×768×3072"} ;;
    variants)
      for variant in tiled-128x64 tiled-128x128 register subgroup; do profile "encode-$variant" 45 encode --config $plain --runs $((runs / 2 + 1)) --variant "matmul=$variant"; done
      for storage in f32 f16; do profile "encode-weights-$storage" 45 encode --config $plain --runs $((runs / 2 + 1)) --weight-storage $storage; done ;;
    gates) part gates 90 node bench/gate-modes.mjs $big "$adapter" $((quick ? 0 : 2)) ;;
    train)
      part train-$big 90 node bench/train-step.mjs $big "$adapter" $((quick ? 1 : 3)) 'encoder frozen,everything trained'
      [ -z "$quick" ] && part train-sgp-small 60 node bench/train-step.mjs sgp-small "$adapter" 10 ;;
  esac
done
echo "$((SECONDS - begun)) s, $failed parts failed; everything is in $out" >>"$summary"
cat "$summary"
[ $failed -eq 0 ]
