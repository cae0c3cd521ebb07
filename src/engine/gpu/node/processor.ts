import { readFileSync } from 'node:fs';

/**
 * Whether this machine's processor runs loops longer than its instruction cache at nearly their speed, which decides how a software
 * adapter's kernels are tiled (bench/README.md): AMD's Zen 5 (family 26) was measured to, Zen 3 and an Intel Xeon of Skylake's kind
 * were measured not to. False where it cannot be told.
 * @param cpuinfo the text of Linux's /proc/cpuinfo; read from there if not given
 */
export function longLoopsOf(cpuinfo = readCpuinfo()): boolean {
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(cpuinfo)?.[1];
  return field('vendor_id') === 'AuthenticAMD' && Number(field('cpu family')) >= 26;
}

function readCpuinfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return ''; // No Linux.
  }
}
