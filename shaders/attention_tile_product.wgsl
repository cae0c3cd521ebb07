// ${TO}_0_0 … : the products of the invocation's 4 own tokens with its others, by quad and other. $OWN and $OTHER load vec4 x of a
// token's head.
//#unroll u OTHER_QUADS
//#unroll i 4
var ${TO}_${u}_${i} = vec4f(0.0);
//#end
//#end
for (var first = 0u; first < p.head_vec4; first += $CHUNKu) {
  for (var e = t; e < KT * $CHUNKu; e += $Tu) {
    stage[e % $CHUNKu * OTHER_STEP + e / $CHUNKu] = $OTHER(other_token[e / $CHUNKu], head, first + e % $CHUNKu);
  }
  for (var e = t; e < QT * $CHUNKu; e += $Tu) {
    stage[OWN_AT + e % $CHUNKu * OWN_STEP + e / $CHUNKu] = $OWN(own_token[e / $CHUNKu], head, first + e % $CHUNKu);
  }
  workgroupBarrier();
  //#unroll x CHUNK
  {
    let at = OWN_AT + ${x}u * OWN_STEP + 4u * quad;
    let own = transpose(mat4x4f(stage[at], stage[at + 1u], stage[at + 2u], stage[at + 3u]));
    //#unroll u OTHER_QUADS
    //#unroll i 4
    ${TO}_${u}_${i} = add(${TO}_${u}_${i}, stage[${x}u * OTHER_STEP + ${u}u * 4u * LANES + ${i}u * LANES + lane], own);
    //#end
    //#end
  }
  //#end
  workgroupBarrier();
}
