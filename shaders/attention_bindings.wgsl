// What attention.wgsl, attention_tiled.wgsl and attention_matrix.wgsl read and write: tokens of heads side by side, and with WINDOW what an encoder block adds.
//#if SCALAR
alias Element = f32;
//#else
alias Element = vec4f;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q_in: array<Element>;
@group(0) @binding(2) var<storage, read> k_in: array<Element>;
@group(0) @binding(3) var<storage, read> v_in: array<Element>;
@group(0) @binding(4) var<storage, read_write> out: array<Element>;
//#if WINDOW
@group(0) @binding(5) var<storage, read> qkv_bias: array<Element>;
@group(0) @binding(6) var<storage, read> table_d: array<Element>; // (2L−1, head_dim)
@group(0) @binding(7) var<storage, read> table_h: array<Element>;
@group(0) @binding(8) var<storage, read> table_w: array<Element>;
//#end
