// $NAME: what the 64 invocations of a workgroup were given, added up, or with LARGEST the largest of it. All of them call it; `parts` is the includer's.
fn $NAME(t: u32, value: f32) -> f32 {
  parts[t] = value;
  workgroupBarrier();
  for (var step = 32u; step > 0u; step /= 2u) {
    //#if LARGEST
    if (t < step) { parts[t] = max(parts[t], parts[t + step]); }
    //#else
    if (t < step) { parts[t] += parts[t + step]; }
    //#end
    workgroupBarrier();
  }
  let sum = parts[0]; // or the largest
  workgroupBarrier();
  return sum;
}
