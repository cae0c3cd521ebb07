/** A picture of a segmentation: the axial, coronal and sagittal slices through a click, side by side. */
import { need, needFields, needList } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { voxelSizes } from './affine.js';
import { Canvas, type Rgb } from './canvas.js';
import { requireInside } from './clicks.js';
import { nearestRas } from './orientation.js';
import { encodePng } from './png.js';
import type { Image, Vec3 } from './types.js';

/** A mask on the image's grid, drawn over it. */
export interface Overlay {
  readonly mask: Uint8Array;
  readonly colour: Rgb;
  /** Opacity of its inside; its outline is always opaque. */
  readonly fill?: number;
}

/** What to draw, and how large. */
export interface MontageOptions {
  /** In source voxels; the slices go through it, and crosshairs mark it. */
  readonly click: Vec3;
  readonly overlays?: readonly Overlay[];
  /** Pixels of the longest side of a slice; 320 if not given. */
  readonly pixels?: number;
  /** Show only this many mm around the click, in each direction together; the whole slice if not given. */
  readonly fieldOfView?: number;
  /** Percentiles of the image's values that are drawn black and white. */
  readonly percentiles?: readonly [number, number];
}

const background: Rgb = [16, 16, 18];
const lettering: Rgb = [225, 225, 225];
const crosshair: Rgb = [255, 214, 10];
const GAP = 8;

/** Display axes of each slice, as axes of the RAS order: across (to the right), up, and through. */
const planes = [
  { across: 0, up: 1, through: 2 },
  { across: 0, up: 2, through: 1 },
  { across: 1, up: 2, through: 0 },
] as const;
const letters = ['LR', 'PA', 'IS'] as const;

/**
 * Draws the three slices through a click in the orientation nearest to RAS (the patient's right on the picture's
 * right, as the letters say) at true proportions, windowed by percentiles, with masks and a crosshair.
 * @returns the canvas; `montagePng` makes a file of it
 * @throws SgpSamError `bad-prompt` for a click outside, `bad-argument` for a mask of another size
 */
export function montage(image: Image, options: MontageOptions): Canvas {
  needFields('montage: image', image, 'affine', 'data');
  need('montage: image.dims', image.dims, 'three whole numbers from 1');
  needFields('montage: options', options, 'click');
  const { click, overlays = [], pixels = 320, fieldOfView } = options;
  need('montage: click', click, 'three finite numbers');
  needList('montage: overlays', overlays, 'mask');
  need('montage: pixels', pixels, 'a number above 0');
  requireInside(image, click);
  for (const { mask } of overlays) {
    if (mask.length !== image.data.length) {
      throw new SgpSamError(
        'bad-argument',
        `a mask of ${mask.length} voxels does not fit ${image.name}, which has ${image.data.length}`,
      );
    }
  }
  const axes = displayAxes(image, click);
  const reach = fieldOfView ? axes.map(() => fieldOfView) : axes.map((axis) => axis.length * axis.zoom);
  const scale = pixels / Math.max(...reach);
  const panels = planes.map((plane) => ({
    ...plane,
    width: Math.max(1, Math.round(reach[plane.across] * scale)),
    height: Math.max(1, Math.round(reach[plane.up] * scale)),
  }));
  const canvas = new Canvas(
    panels.reduce((sum, panel) => sum + panel.width + GAP, GAP),
    Math.max(...panels.map((panel) => panel.height)) + 2 * GAP,
    background,
  );
  const window = intensityWindow(image.data, options.percentiles ?? [1, 99.7]);
  let left = GAP;
  for (const { across, up, through, width, height } of panels) {
    const top = Math.floor((canvas.height - height) / 2);
    const slice = { image, through: axes[through], left, top, width, height };
    const columns = pixelVoxels(axes[across], width, scale, fieldOfView);
    // Rows of a picture run downwards, and up is up.
    const rows = pixelVoxels(axes[up], height, scale, fieldOfView).reverse();
    drawSlice(canvas, { ...slice, columns, rows, across: axes[across], up: axes[up] }, window, overlays);
    drawCrosshair(
      canvas,
      left + nearestPixel(columns, axes[across].at),
      top + nearestPixel(rows, axes[up].at),
    );
    const middle = top + Math.floor(height / 2) - 7;
    const centre = left + Math.floor(width / 2) - 5;
    canvas.letter(left + 4, middle, letters[across][0], lettering);
    canvas.letter(left + width - 14, middle, letters[across][1], lettering);
    canvas.letter(centre, top + height - 18, letters[up][0], lettering);
    canvas.letter(centre, top + 4, letters[up][1], lettering);
    left += width + GAP;
  }
  return canvas;
}

/** {@link montage} as the bytes of a PNG file. */
export function montagePng(image: Image, options: MontageOptions): Uint8Array {
  const { rgb, width, height } = montage(image, options);
  return encodePng(rgb, width, height);
}

/** A display axis: the source axis behind it, its length in voxels, their size in mm, and the click on it. */
interface DisplayAxis {
  readonly length: number;
  readonly zoom: number;
  readonly stride: number;
  readonly flip: boolean;
  /** The click, along the display direction. */
  readonly at: number;
}

function displayAxes(image: Image, click: Vec3): DisplayAxis[] {
  const { from, flip } = nearestRas(image.affine);
  const zooms = voxelSizes(image.affine);
  const strides = [1, image.dims[0], image.dims[0] * image.dims[1]];
  return from.map((source, a) => {
    const length = image.dims[source];
    const c = click[source];
    return {
      length,
      zoom: zooms[source],
      stride: strides[source],
      flip: flip[a],
      at: flip[a] ? length - 1 - c : c,
    };
  });
}

/** The continuous position on an axis of each pixel's centre. */
function pixelVoxels(axis: DisplayAxis, count: number, scale: number, fieldOfView?: number): number[] {
  const start = fieldOfView ? axis.at + 0.5 - fieldOfView / 2 / axis.zoom : 0;
  return Array.from({ length: count }, (_, n) => start + (n + 0.5) / scale / axis.zoom - 0.5);
}

function nearestPixel(positions: readonly number[], at: number): number {
  let best = 0;
  positions.forEach((p, n) => {
    if (Math.abs(p - at) < Math.abs(positions[best] - at)) best = n;
  });
  return best;
}

interface Slice {
  readonly image: Image;
  readonly through: DisplayAxis;
  readonly across: DisplayAxis;
  readonly up: DisplayAxis;
  readonly columns: readonly number[];
  readonly rows: readonly number[];
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Offset in memory of a whole position on an axis, or −1 outside it. */
function offset(axis: DisplayAxis, position: number): number {
  if (position < 0 || position >= axis.length) return -1;
  return (axis.flip ? axis.length - 1 - position : position) * axis.stride;
}

function drawSlice(
  canvas: Canvas,
  slice: Slice,
  [black, white]: readonly [number, number],
  overlays: readonly Overlay[],
): void {
  const { image, through, across, up, columns, rows, left, top, width, height } = slice;
  const base = offset(through, Math.min(through.length - 1, Math.max(0, Math.round(through.at))));
  const value = (x: number, y: number) => {
    const a = offset(across, Math.min(across.length - 1, Math.max(0, x)));
    const b = offset(up, Math.min(up.length - 1, Math.max(0, y)));
    return image.data[base + a + b];
  };
  const inMask = ({ mask }: Overlay, column: number, row: number) => {
    if (column < 0 || row < 0 || column >= width || row >= height) return false;
    const a = offset(across, Math.round(columns[column]));
    const b = offset(up, Math.round(rows[row]));
    return a >= 0 && b >= 0 && mask[base + a + b] > 0;
  };
  for (let row = 0; row < height; row++) {
    const y = rows[row];
    if (y < -0.5 || y > up.length - 0.5) continue;
    const y0 = Math.floor(y);
    for (let column = 0; column < width; column++) {
      const x = columns[column];
      if (x < -0.5 || x > across.length - 0.5) continue;
      const x0 = Math.floor(x);
      const low = value(x0, y0) * (1 - (x - x0)) + value(x0 + 1, y0) * (x - x0);
      const high = value(x0, y0 + 1) * (1 - (x - x0)) + value(x0 + 1, y0 + 1) * (x - x0);
      const v = low * (1 - (y - y0)) + high * (y - y0);
      const grey = Math.min(255, Math.max(0, Math.round(((v - black) / (white - black)) * 255)));
      canvas.blend(left + column, top + row, [grey, grey, grey]);
      for (const overlay of overlays) {
        if (!inMask(overlay, column, row)) continue;
        const inside =
          inMask(overlay, column - 1, row) &&
          inMask(overlay, column + 1, row) &&
          inMask(overlay, column, row - 1) &&
          inMask(overlay, column, row + 1);
        canvas.blend(left + column, top + row, overlay.colour, inside ? (overlay.fill ?? 0.3) : 1);
      }
    }
  }
}

/** Four arms around the click, leaving what was clicked on visible. */
function drawCrosshair(canvas: Canvas, x: number, y: number): void {
  for (let n = 5; n <= 14; n++) {
    for (const [dx, dy] of [
      [n, 0],
      [-n, 0],
      [0, n],
      [0, -n],
    ] as const) {
      canvas.blend(x + dx, y + dy, crosshair);
    }
  }
}

/** The values at two percentiles of the image, its background (the lowest value, if common) left out. */
function intensityWindow(data: Float32Array, percentiles: readonly [number, number]): [number, number] {
  const step = Math.max(1, Math.floor(data.length / 200_000));
  const sample: number[] = [];
  for (let n = 0; n < data.length; n += step) sample.push(data[n]);
  const values = Float64Array.from(sample).sort();
  let first = 0;
  while (first < values.length - 1 && values[first] === values[0]) first++;
  const body = values.subarray(first);
  const at = (p: number) => body[Math.min(body.length - 1, Math.floor((body.length * p) / 100))];
  const black = at(percentiles[0]);
  const white = at(percentiles[1]);
  return [black, white > black ? white : black + 1];
}
