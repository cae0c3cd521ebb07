// A kernel inside a conditional region (SPEC B1) runs for open samples only. `control` was written by the gate:
//   [0] number of open samples S, [1 … B] their indices (first S valid), [1+B … 1+2B) open gates of each
//   sample, then B lists of the gates' indices (C gates a sample), then the number of open branches over all
//   samples and their list, sample · branches + branch.
// `counters` counts the workgroups that really worked, one entry per dispatch of the program: the evidence
// that a closed gate costs nothing, whichever way the dispatch was skipped.
@group(0) @binding(6) var<storage, read> control: array<u32>;
@group(0) @binding(7) var<storage, read_write> counters: array<atomic<u32>>;

fn region_is_open(z: u32) -> bool { return z < control[0]; }
fn region_sample(z: u32) -> u32 { return control[1u + z]; }
fn region_count(local_index: u32, counter: u32) {
  if (local_index == 0u) { atomicAdd(&counters[counter], 1u); }
}
