// The first pass leaves a record per (row, head) that the others read:
//   dq (L·HD; real positions, then the padded ones')  lse (L)  dot (L)  T_d T_h T_w (L² each)  dT_d dT_h dT_w (L²
//   each)  db_q db_k db_v (HD each: what padded tokens give to the qkv bias)
const AT_LSE = L * HD;
const AT_DOT = AT_LSE + L;
const AT_TABLES = AT_DOT + L;          // d, h, w: L² each
const AT_DTABLES = AT_TABLES + 3u * L * L;
const AT_BIAS = AT_DTABLES + 3u * L * L; // q, k, v: HD each
const RECORD = AT_BIAS + 3u * HD;
