/**
 * Which of several candidates is the fastest, by few measurements: those clearly behind leave after their first, and of those still in
 * the half that is behind after every later one. Pure: whoever measures tells.
 */

/** After its first measurement a candidate stays in below this multiple of the best, after its second, … : one alone may be a machine's hiccup. */
const MARGINS = [3, 1.5, 1.2];
/** From this round on (counted from 0) the slower half leaves: one measurement alone says too little for that. */
const HALVING_FROM = 1;

/** The rounds that a candidate can be measured in, when so many follow the first. */
const roundsOf = (runs: number): number => 1 + runs;

/** A race of one shape's candidates. */
export class Race {
  /** The fastest of each so far. */
  readonly times = new Map<string, number>();
  /** Times of those that are out for what an earlier sitting measured: not to be compared with this one's. */
  readonly behind: Readonly<Record<string, number>>;
  private readonly first: string | undefined;
  private alive: string[];
  private round = 0;

  /**
   * @param candidates the one to beat first: ties are its
   * @param runs rounds after the first
   * @param before times of an earlier sitting: whoever was clearly behind there keeps out, the others are measured anew
   */
  constructor(
    candidates: readonly string[],
    private readonly runs: number,
    before: Readonly<Record<string, number>> = {},
  ) {
    this.first = candidates[0];
    const best = Math.min(...candidates.map((name) => before[name] ?? Infinity));
    const behind = candidates.filter((name, i) => i > 0 && (before[name] ?? 0) > MARGINS[0] * best);
    this.behind = Object.fromEntries(behind.map((name) => [name, before[name]]));
    this.alive = candidates.filter((name) => !behind.includes(name));
  }

  /** Who is to be measured in this round, in turn; every other round backwards, so that a machine that slows down hurts all alike. */
  get field(): readonly string[] {
    return this.round % 2 === 0 ? this.alive : this.alive.toReversed();
  }

  /** Nothing more is to be measured. */
  get over(): boolean {
    return this.alive.length === 0 || this.round >= roundsOf(this.runs);
  }

  /** The fastest so far; undefined before anything was measured. */
  get best(): string | undefined {
    let best: string | undefined;
    for (const [name, ms] of this.times) if (best === undefined || ms < this.times.get(best)!) best = name;
    return best;
  }

  /** How many measurements are still to come at most, those of this round included. */
  get most(): number {
    let [count, sum] = [this.alive.length, 0];
    for (let round = this.round; round < roundsOf(this.runs) && count > 0; round++) {
      sum += count;
      // And the one to beat, if it is in the slower half.
      if (round >= HALVING_FROM) count = Math.min(count, Math.ceil(count / 2) + 1);
    }
    return sum;
  }

  /** What a measurement of a candidate came to, ms. */
  record(name: string, ms: number): void {
    this.times.set(name, Math.min(ms, this.times.get(name) ?? Infinity));
  }

  /** A candidate that cannot be measured. */
  refuse(name: string): void {
    this.alive = this.alive.filter((other) => other !== name);
  }

  /** Ends the race: what is known will do. */
  settle(): void {
    this.alive = [];
  }

  /**
   * Ends a round in which all of `field` were measured or refused. Who is in after it: the best, and whoever is near it by the round's
   * margin and in the faster half. The one to beat leaves by the margin alone, and not after its first measurement, the coldest of
   * all: so that what is chosen in its place was measured beside it. A race of one is over.
   */
  endRound(): void {
    const { round, first } = this;
    const ms = (name: string) => this.times.get(name) ?? Infinity;
    const bound = MARGINS[Math.min(round, MARGINS.length - 1)] * Math.min(...this.alive.map(ms));
    // Stable: of equals the earlier stay.
    const order = this.alive.toSorted((a, b) => ms(a) - ms(b));
    const half = new Set(order.slice(0, round < HALVING_FROM ? order.length : Math.ceil(order.length / 2)));
    this.alive = this.alive.filter((name) =>
      name === first ? round === 0 || ms(name) <= bound : half.has(name) && ms(name) <= bound,
    );
    this.round++;
    if (this.alive.length === 1) this.settle();
  }
}
