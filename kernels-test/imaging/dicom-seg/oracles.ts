/** Other people's programs that read DICOM, where they are installed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Debian's Python, which has Debian's modules. */
const PYTHON = '/usr/bin/python3';
const has = (command: string, args: readonly string[]): boolean => {
  const { error, status } = spawnSync(command, args);
  const there = !error && status === 0;
  if (!there)
    console.warn(`skipped: there is no ${[command, ...args].join(' ')} (tools/ci-setup.sh installs it)`);
  return there;
};

export const hasPydicom = has(PYTHON, ['-c', 'import pydicom, numpy']);
export const hasDciodvfy = !spawnSync('dciodvfy', ['-version']).error;
export const hasDcmdump = has('dcmdump', ['--version']);
if (!hasDciodvfy) console.warn('skipped: there is no dciodvfy (tools/ci-setup.sh installs dicom3tools)');

/** Calls `body` with the path of a file of these bytes. */
export function withFile<R>(bytes: Uint8Array, body: (path: string) => R): R {
  const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-seg-'));
  try {
    const path = join(folder, 'seg.dcm');
    writeFileSync(path, bytes);
    return body(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A frame of a segmentation as pydicom reads it. */
export interface ReadFrame {
  readonly segment: number;
  /** Millimetres, LPS. */
  readonly position: [number, number, number];
  readonly orientation: number[];
  readonly spacing: [number, number];
  readonly source: string | null;
  readonly frame: number | null;
  /** Places of pixels above 0, row by row. */
  readonly pixels: number[];
  readonly values: number[];
}

const READ = `
import json, sys, numpy, pydicom
d = pydicom.dcmread(sys.argv[1])
a = d.pixel_array
a = a.reshape((-1,) + a.shape[-2:])
shared = d.SharedFunctionalGroupsSequence[0]
out = []
for n, f in enumerate(d.PerFrameFunctionalGroupsSequence):
    def group(name):
        return (f[name] if name in f else shared[name])[0]
    try:
        s = f.DerivationImageSequence[0].SourceImageSequence[0]
    except (AttributeError, IndexError):
        s = None
    at = numpy.flatnonzero(a[n])
    m = group('PixelMeasuresSequence').PixelSpacing
    out.append(dict(
        segment=int(group('SegmentIdentificationSequence').ReferencedSegmentNumber),
        position=[float(v) for v in group('PlanePositionSequence').ImagePositionPatient],
        orientation=[float(v) for v in group('PlaneOrientationSequence').ImageOrientationPatient],
        spacing=[float(v) for v in m],
        source=None if s is None else str(s.ReferencedSOPInstanceUID),
        frame=None if s is None or 'ReferencedFrameNumber' not in s else int(s.ReferencedFrameNumber),
        pixels=at.tolist(), values=a[n].ravel()[at].tolist()))
print(json.dumps(out))
`;

/** The frames of a segmentation, by pydicom. */
export const pydicomFrames = (path: string): ReadFrame[] =>
  JSON.parse(
    execFileSync(PYTHON, ['-c', READ, path], { encoding: 'utf8', maxBuffer: 1 << 28 }),
  ) as ReadFrame[];

/** What dciodvfy finds wrong. */
export function dciodvfyErrors(path: string, kind = /Segmentation/): string[] {
  const { stdout, stderr } = spawnSync('dciodvfy', ['-new', path], { encoding: 'utf8' });
  const lines = `${stdout}${stderr}`.split('\n').filter(Boolean);
  if (!lines.some((line) => kind.test(line))) throw new Error(`dciodvfy says: ${lines.join('; ')}`);
  return lines.filter((line) => /^error/i.test(line));
}

/** What dcmdump prints; throws where it cannot read the file. */
export const dcmdump = (path: string): string => execFileSync('dcmdump', ['+L', path], { encoding: 'utf8' });
