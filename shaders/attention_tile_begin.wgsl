// How a workgroup of the forward kernels in tiles begins: whose queries it has, their tables, and what their sums begin with.
let head = group.y * HD;
//#include attention_tile_roles.wgsl

//#if WINDOW
let tile = tile_of(group);
if (tile.row >= tile.r0 * tile.r1 || tile.first >= tile.r2) { return; }
let keys = tile.r0 * tile.r1 * tile.r2;
for (var e = t; e < QT; e += $Tu) { own_token[e] = token_at(tile, place_of(tile, e)); }
fill_tables(tile, group, head, t);
//#else
let first_query = group.x * QT;
let keys = p.keys;
for (var e = t; e < QT; e += $Tu) { own_token[e] = group.z * p.queries + min(first_query + e, p.queries - 1u); }
//#end

// The virtual key of the padding is where sums begin: in lane 0.
//#if PADDED
var part_qk = vec4f(0.0);
for (var x = lane; x < HD4; x += LANES) {
  let own = transpose(mat4x4f(
    load_query(own_token[4u * quad], head, x), load_query(own_token[4u * quad + 1u], head, x),
    load_query(own_token[4u * quad + 2u], head, x), load_query(own_token[4u * quad + 3u], head, x),
  ));
  part_qk = add(part_qk, load_bias(p.k_offset + head, x), own);
}
let qk = sum_over_lanes(part_qk, quad, t);
let mass_at = 4u * quad;
var top = fma(vec4f(p.scale), qk, vec4f(pad_mass[mass_at], pad_mass[mass_at + 1u], pad_mass[mass_at + 2u], pad_mass[mass_at + 3u]));
var sum = poisoned4(select(vec4f(0.0), vec4f(1.0), lane == 0u), top, MOST_PADDING);
//#else
var top = vec4f(LOWEST);
var sum = vec4f(0.0);
//#end
var total = vec4f(0.0); // of the scores, for what softmax would hide
