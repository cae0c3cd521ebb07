// What a tile of others makes of the softmax so far: s_0_0 …, products with the invocation's others (by quad and other, $EACH each),
// become scores, LOWEST past the window's last; `top` is then the highest of all that were met, and `sum`, and by `rescale` what
// was summed of values, shrink to it.
var higher = top;
//#unroll u OTHER_QUADS
//#unroll i EACH
{
  let slot = ($EACHu * ${u}u + ${i}u) * LANES + lane;
  //#if WINDOW
  s_${u}_${i} = fma(vec4f(p.scale), s_${u}_${i}, relative(quad, slot));
  //#else
  s_${u}_${i} *= p.scale;
  //#end
  total += s_${u}_${i};
  s_${u}_${i} = select(vec4f(LOWEST), s_${u}_${i}, slot < others);
  higher = max(higher, s_${u}_${i});
}
//#end
//#end
higher = most_over_lanes(higher, quad, t);
let factor = exp(top - higher);
top = higher;
sum *= factor;
if (lane == 0u) { rescale[quad] = factor; }
