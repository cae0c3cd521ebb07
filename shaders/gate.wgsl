// The SGPM gate (SPEC B1, E2) and everything that follows from its decision, in one workgroup, sample by sample:
//   mean       over the tokens of x
//   z = lin2(relu(lin1(mean)));  gate c is open when z_c > 0 (a z that is NaN closes it: the host looks at z)
//   control    which samples are open, which gates of each in ascending order, and which branches (see region.wgsl)
//   dispatch   the indirect dispatch counts of every dispatch of the region, all zero when nothing is open
// `plan` holds, per dispatch of the region, (x, y, z) as it would be with everything open, and what scales it: 0 for open
// samples along z, ALL_BRANCHES for open branches along z, else columns: x is for so many open gates each.
//   PER_BRANCH  the gates are the branches'; otherwise every branch of an open sample is open
struct Params {
  samples: u32, tokens: u32, channels: u32, gates: u32, hidden: u32, branches: u32, dispatches: u32, control: u32, force: u32,
}
//#if SCALAR
alias Element = f32;
const WIDTH = 1u;
//#else
alias Element = vec4f;
const WIDTH = 4u;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>; // (B, N, C)
@group(0) @binding(2) var<storage, read> w1: array<f32>;    // (C, hidden)
@group(0) @binding(3) var<storage, read> b1: array<f32>;
@group(0) @binding(4) var<storage, read> w2: array<f32>;    // (hidden, gates)
@group(0) @binding(5) var<storage, read> b2: array<f32>;
@group(0) @binding(6) var<storage, read_write> z: array<f32>; // (B, gates)
@group(0) @binding(7) var<storage, read_write> decision: array<u32>; // dispatch counts (4 words each); control at word p.control
@group(0) @binding(8) var<storage, read> plan: array<vec4u>;

const WG = 256u;
const ALL_BRANCHES = 0xffffffffu;
var<workgroup> mean: array<Element, $ELEMENTS>;
var<workgroup> quarters: array<Element, 256>;
var<workgroup> parts: array<f32, 256>;
var<workgroup> unit: array<f32, $HIDDEN>;
var<workgroup> counts: array<u32, 256>;

//#include finite.wgsl
fn control(i: u32) -> u32 { return p.control + i; }

fn mean_of(channel: u32) -> f32 {
  //#if SCALAR
  return mean[channel];
  //#else
  return mean[channel / 4u][channel % 4u];
  //#end
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) t: u32) {
  let work = control(1u + 2u * p.samples + p.samples * p.gates);
  var open_samples = 0u;
  var open_branches = 0u;
  var most_open = 0u;
  for (var sample = 0u; sample < p.samples; sample++) {
    // Means, 64 elements at a time: 4 invocations share one and sum every fourth token, in runs that keep the rounding chain short.
    let n = p.channels / WIDTH;
    for (var first = 0u; first < n; first += 64u) {
      let i = first + t % 64u;
      if (i < n) {
        let base = sample * p.tokens * n + i;
        var sum = Element(0.0);
        for (var start = t / 64u; start < p.tokens; start += 256u) {
          var run = Element(0.0);
          for (var token = start; token < min(start + 256u, p.tokens); token += 4u) { run += x[base + token * n]; }
          sum += run;
        }
        quarters[t] = sum;
      }
      workgroupBarrier();
      if (t < 64u && i < n) {
        mean[i] = ((quarters[t] + quarters[t + 64u]) + (quarters[t + 128u] + quarters[t + 192u])) / f32(p.tokens);
      }
      workgroupBarrier();
    }
    // Hidden units: 64 at a time, 4 invocations share one unit's sum over the channels.
    for (var first = 0u; first < p.hidden; first += 64u) {
      let j = first + t % 64u;
      var sum = 0.0;
      if (j < p.hidden) {
        for (var c = t / 64u; c < p.channels; c += 4u) { sum += mean_of(c) * w1[c * p.hidden + j]; }
      }
      parts[t] = sum;
      workgroupBarrier();
      if (t < 64u && j < p.hidden) {
        unit[j] = relu(vec4f((parts[t] + parts[t + 64u]) + (parts[t + 128u] + parts[t + 192u]) + b1[j])).x;
      }
      workgroupBarrier();
    }
    // Every invocation decides a contiguous run of gates; a scan over the runs places the open ones in order.
    let run = (p.gates + WG - 1u) / WG;
    let begin = min(t * run, p.gates);
    let end = min(begin + run, p.gates);
    var open = 0u;
    for (var c = begin; c < end; c++) {
      var sum = b2[c];
      for (var j = 0u; j < p.hidden; j++) { sum += unit[j] * w2[j * p.gates + c]; }
      z[sample * p.gates + c] = sum;
      open += u32(is_open(sum));
    }
    counts[t] = open;
    workgroupBarrier();
    for (var step = 1u; step < WG; step *= 2u) {
      var before = 0u;
      if (t >= step) { before = counts[t - step]; }
      workgroupBarrier();
      counts[t] += before;
      workgroupBarrier();
    }
    let all_open = counts[WG - 1u];
    let before = counts[t] - open;
    var place = control(1u + 2u * p.samples + sample * p.gates) + before;
    var branch = work + 1u + open_branches + before;
    for (var c = begin; c < end; c++) {
      if (is_open(z[sample * p.gates + c])) {
        decision[place] = c;
        place++;
        //#if PER_BRANCH
        decision[branch] = sample * p.branches + c;
        branch++;
        //#end
      }
    }
    //#if PER_BRANCH
    open_branches += all_open;
    //#else
    if (all_open > 0u) {
      for (var k = t; k < p.branches; k += WG) { decision[work + 1u + open_branches + k] = sample * p.branches + k; }
      open_branches += p.branches;
    }
    //#end
    if (t == 0u) {
      decision[control(1u + p.samples + sample)] = all_open;
      if (all_open > 0u) { decision[control(1u + open_samples)] = sample; }
    }
    open_samples += u32(all_open > 0u);
    most_open = max(most_open, all_open);
    workgroupBarrier();
  }
  if (t == 0u) {
    decision[control(0u)] = open_samples;
    decision[work] = open_branches;
  }
  for (var i = t; i < p.dispatches; i += WG) {
    var size = plan[i];
    size.z = select(open_samples, open_branches, size.w == ALL_BRANCHES);
    if (size.w > 0u && size.w != ALL_BRANCHES) { size.x = (most_open + size.w - 1u) / size.w; }
    let any = u32(open_samples > 0u);
    decision[4u * i] = size.x * any;
    decision[4u * i + 1u] = size.y * any;
    decision[4u * i + 2u] = size.z;
    decision[4u * i + 3u] = 0u;
  }
}

// force: 0 as the gate says, 1 every gate closed, 2 every gate open.
fn is_open(value: f32) -> bool { return p.force == 2u || (p.force == 0u && value > 0.0); }
