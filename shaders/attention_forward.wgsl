// What the subgroup variants of the encoder's attention share going forward: what they bind, and how a workgroup begins.
//#include attention_window.wgsl
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;      // (B, D, H, W, 3·C)
@group(0) @binding(2) var<storage, read> qkv_bias: array<vec4f>; // (3·C)
@group(0) @binding(3) var<storage, read> table_d: array<vec4f>;  // (2L−1, head_dim)
@group(0) @binding(4) var<storage, read> table_h: array<vec4f>;
@group(0) @binding(5) var<storage, read> table_w: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4f>; // (B, D, H, W, C)
//#include attention_row.wgsl

//#if PADDED
var<workgroup> pad_top: array<f32, $ROWS_L>; // pad_mass by row and query
//#end

struct Rows {
  row: Row,   // the first of the workgroup's rows
  count: u32, // none in the groups that a cut-off window has too many
}

// The rows (d, h), (d, h + 1), … of this workgroup, their tables filled.
fn begin_rows(group: vec3u, lane: u32) -> Rows {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  // Groups of rows lie within windows: the last of a window can reach past it.
  let w_window = group.x % p.windows_w;
  let h_group = (group.x / p.windows_w) % $H_GROUPSu;
  let d_abs = group.x / (p.windows_w * $H_GROUPSu);
  let h_window = (h_group / $GROUPS_IN_WINDOWu) * L;
  let h_first = h_window + (h_group % $GROUPS_IN_WINDOWu) * $ROWSu;
  let h_end = min(h_window + L, p.grid_h);
  let row = row_at(w_window, min(h_first, h_end - 1u), d_abs, group.z);
  let count = min($ROWSu, max(h_end, h_first) - h_first);
  fill_tables(row, max(count, 1u), row.token * 3u * c4 + head, 3u * c4, head, lane);
  //#if PADDED
  for (var r = 0u; r < $ROWSu; r++) {
    fill_mass(r, row, lane);
    for (var i = lane; i < row.r2; i += $SGu) { pad_top[r * L + i] = pad_mass(r, i); }
  }
  workgroupBarrier();
  //#end
  return Rows(row, count);
}
