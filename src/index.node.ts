export type { ErrorCode, Progress } from './errors.js';
export { SgpSamError } from './errors.js';
export type {
  AdapterChoice,
  AdapterKind,
  AdapterReport,
  AdapterSource,
  Gpu,
  OpenDeviceOptions,
  Tier,
} from './gpu/device.js';
export { openDevice } from './gpu/node/open.js';
