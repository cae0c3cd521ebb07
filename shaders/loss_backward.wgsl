// d loss / d logits, times `upstream`, from the sums of the forward pass. Per voxel:
//   Dice   −(2y·(S + ε) − (2I + ε)·2p)/(S + ε)² · p(1 − p),  I = Σ p·y, S = Σ p² + Σ y
//   focal  ±w/n · σ(t)^γ·(γ·(1 − σ(t))·softplus(t) + σ(t)),  minus on lesion voxels (t = −s)
//   CE     ±σ(t)/n
struct Params { count: u32, voxels: u32, gamma: f32, smoothing: f32, dice: f32, focal: f32, ce: f32, upstream: f32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
//#include loss_common.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  let at = (i / p.voxels) * $SUMSu;
  let s = logits[i];
  let lesion = targets[i] > 0.5;
  let sign = select(1.0, -1.0, lesion);
  let v = sign * s;
  let prob = sigmoid(s);
  let slope = prob * sigmoid(-s);
  let denominator = sums[at + 1u] + sums[at + 2u] + p.smoothing;
  let overlap = (2.0 * sums[at] + p.smoothing) / denominator;
  let dice = -(2.0 * select(0.0, 1.0, lesion) - overlap * 2.0 * prob) / denominator * slope;
  let weight = select(sums[at + 9u], sums[at + 8u], lesion);
  let miss = sigmoid(v);
  let focal = sign * weight * focus(v, p.gamma) * (p.gamma * sigmoid(-v) * softplus(v) + miss);
  let ce = sign * miss / f32(p.voxels);
  y[i] = p.upstream * (p.dice * dice + p.focal * focal + p.ce * ce);
}
