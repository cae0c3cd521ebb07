// What the subgroup variants of the encoder's attention share going forward: what they bind, and how a workgroup begins.
//#include attention_window.wgsl
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;      // (B, D, H, W, 3·C)
@group(0) @binding(2) var<storage, read> qkv_bias: array<vec4f>; // (3·C)
@group(0) @binding(3) var<storage, read> table_d: array<vec4f>;  // (2L−1, head_dim)
@group(0) @binding(4) var<storage, read> table_h: array<vec4f>;
@group(0) @binding(5) var<storage, read> table_w: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4f>; // (B, D, H, W, C)
//#include attention_rows.wgsl
//#include attention_row.wgsl

//#if PADDED
var<workgroup> pad_top: array<f32, $ROWS_L>; // pad_mass by row and query
//#end

// The rows (d, h), (d, h + 1), … of this workgroup, their tables filled.
fn begin_rows(group: vec3u, lane: u32) -> Rows {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  let rows = rows_of(group);
  let row = rows.row;
  fill_tables(row, max(rows.count, 1u), row.token * 3u * c4 + head, 3u * c4, head, lane);
  //#if PADDED
  for (var r = 0u; r < $ROWSu; r++) {
    fill_mass(r, row, lane);
    for (var i = lane; i < row.r2; i += $SGu) { pad_top[r * L + i] = pad_mass(r, i); }
  }
  workgroupBarrier();
  //#end
  return rows;
}
