// The SGPM gate (SPEC B1) and everything that follows from its decision, in one workgroup:
//   z = lin2(relu(lin1(mean)))  per sample;  channel c is open when z_c > 0 (a z that is NaN closes it: the host looks at z)
//   control    which samples are open, and which channels of each, in ascending order (see region.wgsl)
//   dispatch   the indirect dispatch counts of every dispatch of the region, all zero when no sample is open
// `plan` holds, per dispatch of the region, (x, y, z, columns) as it would be with everything open.
struct Params { samples: u32, channels: u32, hidden: u32, dispatches: u32, control: u32, force: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> mean: array<f32>;  // (B, C)
@group(0) @binding(2) var<storage, read> w1: array<f32>;    // (C, hidden)
@group(0) @binding(3) var<storage, read> b1: array<f32>;
@group(0) @binding(4) var<storage, read> w2: array<f32>;    // (hidden, C)
@group(0) @binding(5) var<storage, read> b2: array<f32>;
@group(0) @binding(6) var<storage, read_write> z: array<f32>; // (B, C)
@group(0) @binding(7) var<storage, read_write> decision: array<u32>; // dispatch counts (4 words each); control at word p.control
@group(0) @binding(8) var<storage, read> plan: array<vec4u>;

const WG = 256u;
var<workgroup> parts: array<f32, 256>;
var<workgroup> unit: array<f32, $HIDDEN>;
var<workgroup> counts: array<u32, 256>;

//#include finite.wgsl
fn control(i: u32) -> u32 { return p.control + i; }

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) t: u32) {
  var open_samples = 0u;
  var most_open = 0u;
  for (var sample = 0u; sample < p.samples; sample++) {
    // Hidden units: 64 at a time, 4 invocations share one unit's sum over the channels.
    for (var first = 0u; first < p.hidden; first += 64u) {
      let j = first + t % 64u;
      var sum = 0.0;
      if (j < p.hidden) {
        for (var c = t / 64u; c < p.channels; c += 4u) { sum += mean[sample * p.channels + c] * w1[c * p.hidden + j]; }
      }
      parts[t] = sum;
      workgroupBarrier();
      if (t < 64u && j < p.hidden) {
        unit[j] = relu(vec4f((parts[t] + parts[t + 64u]) + (parts[t + 128u] + parts[t + 192u]) + b1[j])).x;
      }
      workgroupBarrier();
    }
    // Every invocation decides a contiguous run of channels; a scan over the runs places the open ones in order.
    let run = (p.channels + WG - 1u) / WG;
    let begin = min(t * run, p.channels);
    let end = min(begin + run, p.channels);
    var open = 0u;
    for (var c = begin; c < end; c++) {
      var sum = b2[c];
      for (var j = 0u; j < p.hidden; j++) { sum += unit[j] * w2[j * p.channels + c]; }
      z[sample * p.channels + c] = sum;
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
    var place = control(1u + 2u * p.samples + sample * p.channels) + counts[t] - open;
    for (var c = begin; c < end; c++) {
      if (is_open(z[sample * p.channels + c])) {
        decision[place] = c;
        place++;
      }
    }
    let all_open = counts[WG - 1u];
    if (t == 0u) {
      decision[control(1u + p.samples + sample)] = all_open;
      if (all_open > 0u) { decision[control(1u + open_samples)] = sample; }
    }
    open_samples += u32(all_open > 0u);
    most_open = max(most_open, all_open);
    workgroupBarrier();
  }
  if (t == 0u) { decision[control(0u)] = open_samples; }
  for (var i = t; i < p.dispatches; i += WG) {
    var size = plan[i];
    if (size.w > 0u) { size.x = (most_open + size.w - 1u) / size.w; }
    let any = u32(open_samples > 0u);
    decision[4u * i] = size.x * any;
    decision[4u * i + 1u] = size.y * any;
    decision[4u * i + 2u] = open_samples;
    decision[4u * i + 3u] = 0u;
  }
}

// force: 0 as the gate says, 1 every channel closed, 2 every channel open.
fn is_open(value: f32) -> bool { return p.force == 2u || (p.force == 0u && value > 0.0); }
