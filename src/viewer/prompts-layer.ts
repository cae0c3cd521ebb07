/** What lies over the slices: the prompts of the selected lesion, which can be dragged, what is being drawn, and work under way. */
import type { Vec3 } from '../imaging/types.js';
import { type Entry, type PromptMark, promptsOf } from './entry.js';
import { afterDraw, factorsOf, type Slice, slicesOf, spotOf, underPoint } from './places.js';
import { Ruler } from './ruler.js';
import type { Stage } from './stage.js';
import { drawSvg as draw } from './svg.js';

/** Points are shown, ever fainter, so many slices away from theirs. */
const NEAR = 3;
/** A press that moves no farther is no drag, CSS pixels. */
const SLOP = 4;

/** What a hand drew in a pane. */
export interface Stroke {
  readonly slice: Slice;
  /** Voxels of the file, fractions included. */
  readonly path: readonly Vec3[];
  /** Whether it takes away (Shift). */
  readonly shift: boolean;
}

export type StrokeKind = 'box' | 'line' | 'loop' | 'brush' | 'ruler';

export interface LayerActions {
  /** A point was dragged to a voxel, or is to go. */
  change(entry: Entry, mark: PromptMark, to: Vec3 | undefined): void;
  drawn(stroke: Stroke): void;
  /** A distance was measured, mm. */
  measured(mm: number): void;
}

export class PromptsLayer {
  private readonly svg: SVGSVGElement;
  private readonly marks = draw('g', {});
  private readonly line = draw('path', { class: 'stroke' });
  private readonly ring = draw(
    'g',
    { class: 'ring' },
    draw('circle', { r: 13 }),
    draw('circle', { r: 13, class: 'part', pathLength: 100 }),
  );
  private readonly ruler: Ruler;
  private entry: Entry | undefined;
  private at: Vec3 | undefined;
  private dragging = false;
  private drawing = false;
  private kind: StrokeKind | undefined;
  private brushMm = 0;
  private removing = false;

  constructor(
    private readonly stage: Stage,
    private readonly actions: LayerActions,
  ) {
    this.svg = draw('svg', { class: 'prompts', 'aria-hidden': 'true' }, this.marks, this.line, this.ring);
    const { canvas } = stage;
    canvas.after(this.svg);
    this.ruler = new Ruler(stage, this.svg);
    this.ring.style.display = 'none';
    afterDraw(stage, () => this.place());
    this.svg.addEventListener('pointerdown', (event) => this.begin(event));
    // The slices scroll under a tool too.
    this.svg.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        canvas.dispatchEvent(new WheelEvent('wheel', event));
      },
      { passive: false },
    );
    // And the view's own drags go on: window, pan, what is under the pointer.
    this.svg.addEventListener('pointermove', (event) => {
      if (!this.drawing && !this.dragging) canvas.dispatchEvent(new PointerEvent('pointermove', event));
    });
    this.svg.addEventListener('pointerleave', (event) => {
      canvas.dispatchEvent(new PointerEvent('pointerleave', event));
    });
    this.svg.addEventListener('contextmenu', (event) => event.preventDefault());
  }

  /** What a press on the slices draws; nothing: it is NiiVue's. */
  use(kind: StrokeKind | undefined, brushMm: number, removing: boolean): void {
    this.kind = kind;
    this.brushMm = brushMm;
    this.removing = removing;
    this.svg.classList.toggle('drawing', kind !== undefined);
    this.svg.classList.toggle('removing', removing);
  }

  show(entry: Entry | undefined): void {
    this.entry = entry;
    if (!this.dragging) this.place();
  }

  /** Work at a voxel, how much of it is done (0 to 1, if known); or none. */
  working(at: Vec3 | undefined, part?: number): void {
    this.at = at ?? (part === undefined ? undefined : this.at);
    const [, circle] = this.ring.children;
    this.ring.classList.toggle('unknown', part === undefined);
    circle.setAttribute('stroke-dasharray', `${100 * (part ?? 0.25)} 100`);
    this.placeRing();
  }

  private placeRing(): void {
    const { at } = this;
    const spot = at && slicesOf(this.stage).flatMap((slice) => spotOf(this.stage, slice, at) ?? [])[0];
    this.ring.style.display = spot ? '' : 'none';
    if (spot) this.ring.setAttribute('transform', `translate(${spot.x} ${spot.y})`);
  }

  /** Puts everything where NiiVue shows it now. */
  private place(): void {
    this.placeRing();
    if (this.dragging) return;
    const { entry, stage } = this;
    const slices = entry ? slicesOf(stage) : [];
    const marks = entry?.visible ? promptsOf(entry) : [];
    this.marks.replaceChildren(
      ...slices.flatMap((slice) =>
        marks.flatMap((mark) => {
          const { what } = mark;
          if (what.type === 'click') return this.point(slice, mark, what.click.at, what.click.label === 1);
          if (what.type === 'box') return this.box(slice, what.box.min, what.box.max);
          return [];
        }),
      ),
    );
  }

  private point(slice: Slice, mark: PromptMark, at: Vec3, positive: boolean): SVGElement[] {
    const spot = spotOf(this.stage, slice, at);
    if (!spot || spot.away > NEAR + 0.5) return [];
    const here = spot.away <= 0.5;
    const glyph = positive ? 'M-3.5 0H3.5M0 -3.5V3.5' : 'M-3.5 0H3.5';
    const made = draw(
      'g',
      {
        class: `point ${positive ? 'plus' : 'minus'}${here ? '' : ' away'}`,
        transform: `translate(${spot.x} ${spot.y})`,
        opacity: here ? 1 : 0.55 - 0.13 * spot.away,
      },
      // Fingers need more than what is seen.
      draw('circle', { r: 14, class: 'hold' }),
      draw('circle', { r: here ? 7 : 4.5 }),
      ...(here ? [draw('path', { d: glyph })] : []),
    );
    made.append(draw('title', {}));
    made
      .querySelector('title')
      ?.append(
        `${positive ? 'Lesion' : 'Not lesion'}, voxel ${at.map((c) => Math.round(c)).join(', ')}. Drag to move, right-click to take away`,
      );
    made.addEventListener('pointerdown', (event) => this.drag(event, made, mark, slice));
    made.addEventListener('contextmenu', (event) => {
      event.preventDefault();
      if (this.entry) this.actions.change(this.entry, mark, undefined);
    });
    return [made];
  }

  private box(slice: Slice, min: Vec3, max: Vec3): SVGElement[] {
    const [a, b] = [spotOf(this.stage, slice, min), spotOf(this.stage, slice, max)];
    if (!a || !b) return [];
    const thick = (max[slice.axis] - min[slice.axis]) / factorsOf(this.stage)[slice.axis];
    if (Math.max(a.away, b.away) > thick + 0.5) return [];
    return [
      draw('rect', {
        class: 'box',
        x: Math.min(a.x, b.x),
        y: Math.min(a.y, b.y),
        width: Math.abs(a.x - b.x),
        height: Math.abs(a.y - b.y),
      }),
    ];
  }

  private placeOf(event: PointerEvent): [number, number] {
    const corner = this.stage.canvas.getBoundingClientRect();
    return [event.clientX - corner.left, event.clientY - corner.top];
  }

  private drag(event: PointerEvent, made: SVGElement, mark: PromptMark, slice: Slice): void {
    if (event.button !== 0 || !this.entry) return;
    event.preventDefault();
    event.stopPropagation();
    const { entry } = this;
    const from = this.placeOf(event);
    let to: Vec3 | undefined;
    this.dragging = true;
    this.follow(
      event,
      (next) => {
        const [x, y] = this.placeOf(next);
        if (!to && Math.hypot(x - from[0], y - from[1]) <= SLOP) return;
        const under = underPoint(this.stage, x, y);
        if (under?.slice.index !== slice.index) return;
        to = under.voxel;
        made.setAttribute('transform', `translate(${x} ${y})`);
      },
      (done) => {
        this.dragging = false;
        this.place();
        if (!done || !to) return;
        this.actions.change(entry, mark, [Math.round(to[0]), Math.round(to[1]), Math.round(to[2])]);
      },
    );
  }

  private begin(event: PointerEvent): void {
    const { kind } = this;
    const [x, y] = this.placeOf(event);
    const start = underPoint(this.stage, x, y);
    if (!kind) return;
    if (event.button !== 0 || event.ctrlKey || event.metaKey || !event.isPrimary) {
      if (event.pointerType === 'mouse')
        this.stage.canvas.dispatchEvent(new PointerEvent('pointerdown', event));
      return;
    }
    if (!start) return;
    event.preventDefault();
    this.drawing = true;
    this.stage.canvas.focus({ preventScroll: true });
    const { slice } = start;
    const path: Vec3[] = [start.voxel];
    const points: [number, number][] = [[x, y]];
    const shift = event.shiftKey;
    this.line.setAttribute('class', `stroke ${kind}${shift !== this.removing ? ' minus' : ''}`);
    this.line.setAttribute('stroke-width', String(kind === 'brush' ? 2 * this.brushMm * slice.scale : 2));
    const trace = () => {
      if (kind === 'ruler') {
        this.ruler.show(path[0], path[path.length - 1]);
        return;
      }
      const [[x0, y0]] = points;
      const [x1, y1] = points[points.length - 1];
      const d =
        kind === 'box'
          ? `M${x0} ${y0}H${x1}V${y1}H${x0}Z`
          : `M${points.map((p) => p.join(' ')).join('L')}${points.length === 1 ? `L${x0} ${y0}` : ''}${kind === 'loop' ? 'Z' : ''}`;
      this.line.setAttribute('d', d);
    };
    trace();
    this.follow(
      event,
      (next) => {
        const at = this.placeOf(next);
        const last = points[points.length - 1];
        const under = underPoint(this.stage, ...at);
        if (under?.slice.index !== slice.index || Math.hypot(at[0] - last[0], at[1] - last[1]) < 2) return;
        points.push(at);
        path.push(under.voxel);
        trace();
      },
      (done) => {
        this.drawing = false;
        this.line.removeAttribute('d');
        if (kind === 'ruler') this.measure(path, done);
        else if (done) this.actions.drawn({ slice, path, shift });
      },
    );
  }

  /** Keeps a distance that was drawn; one that was called off, or a mere click, goes. */
  private measure(path: readonly Vec3[], done: boolean): void {
    const [from] = path;
    const mm = this.ruler.show(from, done ? path[path.length - 1] : from);
    if (mm) this.actions.measured(mm);
    else this.ruler.hide();
  }

  /** Follows a pointer until it goes up (`done`), or is called off: by Escape, say. */
  private follow(
    event: PointerEvent,
    move: (event: PointerEvent) => void,
    end: (done: boolean) => void,
  ): void {
    const { pointerId } = event;
    this.svg.setPointerCapture(pointerId);
    const listening = new AbortController();
    const { signal } = listening;
    const stop = (done: boolean) => {
      listening.abort();
      end(done);
    };
    const own = (act: (event: PointerEvent) => void) => (next: PointerEvent) => {
      if (next.pointerId === pointerId) act(next);
    };
    this.svg.addEventListener('pointermove', own(move), { signal });
    this.svg.addEventListener(
      'pointerup',
      own(() => stop(true)),
      { signal },
    );
    this.svg.addEventListener(
      'pointercancel',
      own(() => stop(false)),
      { signal },
    );
    document.addEventListener(
      'keydown',
      (key) => {
        if (key.key === 'Escape') stop(false);
      },
      { signal, capture: true },
    );
  }
}
