// How the tiled kernels divide a window of the encoder's attention: a workgroup's own slots are whole rows (d, h) of the
// window, $ROWS of them with $ROW_SLOTS slots each (a multiple of 4, so that a quad lies in one row); a row longer than all slots is
// cut. The others are the window's real positions in order.
const L = $Lu;   // window edge, or the grid's in a global block
const E0 = $E0u; // most real positions along the axes
const E1 = $E1u;
const E2 = $E2u;
const ROWS = $ROWSu;
const ROW_SLOTS = $ROW_SLOTSu;

struct Tile {
  r0: u32, r1: u32, r2: u32, // the window's real extent
  window_token: u32,         // its first token
  record: u32,               // of the first of its rows (attention_backward_common.wgsl)
  row: u32,                  // first row of the tile: d · r1 + h within the window
  first: u32,                // the w that its slots begin at
}

fn tile_of(group: vec3u) -> Tile {
  let window = group.x / $TILESu;
  let tile = group.x % $TILESu;
  let w = window % p.windows_w;
  let at_h = window / p.windows_w % p.windows_h * L;
  let at_d = window / (p.windows_w * p.windows_h) * L;
  let at = (group.z * p.grid_d + at_d) * p.grid_h + at_h;
  return Tile(
    min(L, p.grid_d - at_d), min(L, p.grid_h - at_h), min(L, p.grid_w - w * L),
    at * p.grid_w + w * L, at * p.windows_w + w, tile / $TILES_Wu * ROWS, tile % $TILES_Wu * ROW_SLOTS,
  );
}

// (d, h, w) of an own slot within the window; slots that are nobody's repeat others.
fn place_of(tile: Tile, slot: u32) -> vec3u {
  let row = min(tile.row + min(slot / ROW_SLOTS, ROWS - 1u), tile.r0 * tile.r1 - 1u);
  return vec3u(row / tile.r1, row % tile.r1, min(tile.first + slot % ROW_SLOTS, tile.r2 - 1u));
}

fn is_real(tile: Tile, slot: u32) -> bool {
  return slot / ROW_SLOTS < ROWS && tile.row + slot / ROW_SLOTS < tile.r0 * tile.r1 && tile.first + slot % ROW_SLOTS < tile.r2;
}

// (d, h, w) of the window's n-th real position.
fn other_of(tile: Tile, n: u32) -> vec3u {
  return vec3u(n / (tile.r1 * tile.r2), n / tile.r2 % tile.r1, n % tile.r2);
}

fn token_at(tile: Tile, place: vec3u) -> u32 {
  return tile.window_token + (place.x * p.grid_h + place.y) * p.grid_w + place.z;
}
