import { bf16ToF32, f16ToF32 } from '../base/half.js';

/** Element types of stored tensors, named as in safetensors. */
export type WeightDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

/** Bytes per element. */
export const DTYPE_SIZE: Readonly<Record<WeightDType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** Whether `name` is an element type that we read. */
export function isWeightDType(name: unknown): name is WeightDType {
  return typeof name === 'string' && Object.hasOwn(DTYPE_SIZE, name);
}

/** Whether values of the type are floating point (and so may be stored as f16). */
export function isFloatDType(dtype: WeightDType): boolean {
  return dtype === 'F64' || dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

/** Number of elements of a shape; 1 for a scalar. Not a safe integer when the shape is absurd. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/**
 * Values of a tensor as f32, rounded to nearest where f32 is narrower (f64, i32, i64); BOOL gives 0 and 1.
 * @param bytes little-endian values in a buffer of their own, as a ByteSource gives them; for F32 the result
 *   is a view of that buffer. (Typed arrays are little-endian on every platform that JavaScript engines ship.)
 */
export function decodeF32(bytes: Uint8Array<ArrayBuffer>, dtype: WeightDType): Float32Array<ArrayBuffer> {
  const size = DTYPE_SIZE[dtype];
  const { buffer, byteOffset } = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const length = Math.floor(bytes.byteLength / size);
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, length);
    case 'F16':
      return f16ToF32(new Uint16Array(buffer, byteOffset, length));
    case 'BF16':
      return bf16ToF32(new Uint16Array(buffer, byteOffset, length));
    case 'F64':
      return new Float32Array(new Float64Array(buffer, byteOffset, length));
    case 'I64':
      return Float32Array.from(new BigInt64Array(buffer, byteOffset, length), Number);
    case 'I32':
      return new Float32Array(new Int32Array(buffer, byteOffset, length));
    case 'I16':
      return new Float32Array(new Int16Array(buffer, byteOffset, length));
    case 'I8':
      return new Float32Array(new Int8Array(buffer, byteOffset, length));
    case 'U8':
      return new Float32Array(new Uint8Array(buffer, byteOffset, length));
    case 'BOOL':
      return Float32Array.from(new Uint8Array(buffer, byteOffset, length), (value) => (value ? 1 : 0));
  }
}
