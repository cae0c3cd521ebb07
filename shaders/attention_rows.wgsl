// Which rows (d, h), (d, h + 1), … a workgroup of a kernel takes that takes $ROWS of one window and head each.
struct Rows {
  row: Row,   // the first of the workgroup's rows
  count: u32, // none in the groups that a cut-off window has too many
}

fn rows_of(group: vec3u) -> Rows {
  // Groups of rows lie within windows: the last of a window can reach past it.
  let w_window = group.x % p.windows_w;
  let h_group = (group.x / p.windows_w) % $H_GROUPSu;
  let d_abs = group.x / (p.windows_w * $H_GROUPSu);
  let h_window = (h_group / $GROUPS_IN_WINDOWu) * L;
  let h_first = h_window + (h_group % $GROUPS_IN_WINDOWu) * $ROWSu;
  let h_end = min(h_window + L, p.grid_h);
  let row = row_at(w_window, min(h_first, h_end - 1u), d_abs, group.z);
  return Rows(row, min($ROWSu, max(h_end, h_first) - h_first));
}
