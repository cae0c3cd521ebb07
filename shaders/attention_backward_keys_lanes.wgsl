// What the keys' pass binds where subgroups do it: heads in vec4.
//#include attention_backward_common.wgsl
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> dout: array<vec4f>;
@group(0) @binding(3) var<storage, read> record: array<f32>;
@group(0) @binding(4) var<storage, read_write> dqkv: array<vec4f>;
const HD4 = HD / 4u;
