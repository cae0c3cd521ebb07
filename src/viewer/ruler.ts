/** A distance on a slice, measured by hand: a line with its length, until another is drawn or the scan changes. */
import type { Vec3 } from '../imaging/types.js';
import type { ReadScan } from './for-display.js';
import { afterDraw, slicesOf, spotOf } from './places.js';
import type { Stage } from './stage.js';
import { drawSvg } from './svg.js';

export class Ruler {
  private readonly line = drawSvg('path', {});
  private readonly text = drawSvg('text', { 'text-anchor': 'middle' });
  private readonly group = drawSvg('g', { class: 'ruler' }, this.line, this.text);
  private measured: { readonly scan: ReadScan; readonly from: Vec3; readonly to: Vec3 } | undefined;

  constructor(
    private readonly stage: Stage,
    layer: SVGSVGElement,
  ) {
    layer.append(this.group);
    afterDraw(stage, () => this.place());
  }

  /**
   * Shows the distance of two voxels (fractions included).
   * @returns mm; undefined where no scan is shown
   */
  show(from: Vec3, to: Vec3): number | undefined {
    const { scan } = this.stage;
    this.measured = scan && { scan, from, to };
    this.place();
    return scan && distance(scan, from, to);
  }

  hide(): void {
    this.measured = undefined;
    this.place();
  }

  private place(): void {
    const { stage, measured } = this;
    const shown = measured && stage.scan === measured.scan ? measured : undefined;
    // In the slice that both ends lie in.
    const ends = shown
      ? slicesOf(stage).flatMap((slice) => {
          const [a, b] = [spotOf(stage, slice, shown.from), spotOf(stage, slice, shown.to)];
          return a && b && Math.max(a.away, b.away) <= 0.5 ? [{ a, b }] : [];
        })[0]
      : undefined;
    this.group.style.display = ends ? '' : 'none';
    if (!ends || !shown) return;
    const { a, b } = ends;
    // Small bars at the ends, across the line.
    const far = Math.hypot(b.x - a.x, b.y - a.y) || 1;
    const [u, v] = [(-5 * (b.y - a.y)) / far, (5 * (b.x - a.x)) / far];
    const bar = ({ x, y }: typeof a) => `M${x - u} ${y - v}L${x + u} ${y + v}`;
    this.line.setAttribute('d', `M${a.x} ${a.y}L${b.x} ${b.y}${bar(a)}${bar(b)}`);
    const lower = a.y > b.y ? a : b;
    this.text.setAttribute('x', String(lower.x));
    this.text.setAttribute('y', String(lower.y + 18));
    this.text.textContent = `${distance(shown.scan, shown.from, shown.to).toFixed(1)} mm`;
  }
}

/** Of two voxels of a scan, mm: axes of a scan are perpendicular in what can be shown. */
const distance = ({ spacing }: ReadScan, from: Vec3, to: Vec3): number =>
  Math.hypot(...spacing.map((mm, a) => mm * (to[a] - from[a])));
