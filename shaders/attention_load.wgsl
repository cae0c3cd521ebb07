// load_$NAME: components 4·i … 4·i+3 of the head's vector that starts at element `base` of $FROM; zero past head_dim.
fn load_$NAME(base: u32, i: u32) -> vec4f {
  //#if SCALAR
  var v = vec4f(0.0);
  for (var j = 0u; j < 4u && 4u * i + j < HD; j++) { v[j] = $FROM[base + 4u * i + j]; }
  return v;
  //#else
  return $FROM[base / 4u + i];
  //#end
}
