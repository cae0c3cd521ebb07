/** How lesions and the scan are shown: fields on the page, kept for the next visit. */
import { button, element } from './page.js';
import { LOOK, type Look, type Stage } from './stage.js';

const KEPT = 'sgp-sam-look';

function kept(): Look {
  try {
    const { fill, contour, radiological } = JSON.parse(localStorage.getItem(KEPT) ?? '{}') as Partial<Look>;
    const share = (v: unknown, other: number) => (typeof v === 'number' && v >= 0 && v <= 1 ? v : other);
    return {
      ...LOOK,
      fill: share(fill, LOOK.fill),
      contour: share(contour, LOOK.contour),
      radiological: typeof radiological === 'boolean' ? radiological : LOOK.radiological,
    };
  } catch {
    return LOOK; // no storage, or what is there is not ours
  }
}

export class LookControls {
  private readonly fill = element<HTMLInputElement>('fill');
  private readonly contour = element<HTMLInputElement>('contour');
  private readonly toggles = {
    overlay: 'show-lesions',
    crosshair: 'show-crosshair',
    render: 'show-3d',
  } as const;

  constructor(private readonly stage: Stage) {
    stage.look = kept();
    for (const field of [this.fill, this.contour])
      field.addEventListener('input', () =>
        this.set({ fill: Number(this.fill.value) / 100, contour: Number(this.contour.value) / 100 }),
      );
    for (const [what, id] of Object.entries(this.toggles))
      button(id).addEventListener('click', () => this.toggle(what as keyof LookControls['toggles']));
    button('convention').addEventListener('click', () => this.toggle('radiological'));
    this.show();
  }

  toggle(what: 'overlay' | 'crosshair' | 'render' | 'radiological'): void {
    this.set({ [what]: !this.stage.look[what] });
  }

  private set(some: Partial<Look>): void {
    this.stage.setLook({ ...this.stage.look, ...some });
    const { fill, contour, radiological } = this.stage.look;
    try {
      localStorage.setItem(KEPT, JSON.stringify({ fill, contour, radiological }));
    } catch {
      // No storage: this visit only.
    }
    this.show();
  }

  /** What the stage has now; a large scan turns its 3D pane off. */
  show(): void {
    const { look } = this.stage;
    this.fill.value = String(Math.round(100 * look.fill));
    this.contour.value = String(Math.round(100 * look.contour));
    for (const [what, id] of Object.entries(this.toggles))
      button(id).setAttribute('aria-pressed', String(look[what as keyof LookControls['toggles']]));
    const side = look.radiological ? 'Radiological' : 'Neurological';
    button('convention').textContent = look.radiological ? 'R | L' : 'L | R';
    button('convention').ariaLabel = `${side} convention`;
    button('convention').title =
      `${side}: the patient’s ${look.radiological ? 'right' : 'left'} is on the left (N)`;
  }
}
