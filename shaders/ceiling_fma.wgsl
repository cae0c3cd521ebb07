// What arithmetic a device can do at most: $ACC independent chains of fused multiply-adds per invocation, nothing loaded,
// one value stored so that none of it can be left out. One chain waits for itself; too many do not fit the registers:
// the ceiling is the best of several counts.
//#if HALF
enable f16;
//#end
struct Params { rounds: u32 }
@group(0) @binding(0) var<uniform> p: Params;
//#if HALF
alias Scalar = f16;
//#else
alias Scalar = f32;
//#end
//#if VEC4
alias Value = vec4<Scalar>;
//#else
alias Value = Scalar;
//#end
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = Value(Scalar(0.999));
  let term = Value(Scalar(f32(id.x % 7u) * 1.0e-3));
  //#unroll i ACC
  var a_${i} = Value(Scalar(f32(id.x % 64u) * 0.01 + ${i}.0));
  //#end
  for (var round = 0u; round < p.rounds; round++) {
    //#unroll n 8
    //#unroll i ACC
    a_${i} = fma(a_${i}, factor, term);
    //#end
    //#end
  }
  var sum = Value();
  //#unroll i ACC
  sum += a_${i};
  //#end
  //#if VEC4
  y[id.x] = f32(sum.x + sum.y + sum.z + sum.w);
  //#else
  y[id.x] = f32(sum);
  //#end
}
