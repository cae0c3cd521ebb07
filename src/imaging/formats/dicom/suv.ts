/**
 * Standardised uptake values of PET by body weight, as QIBA's profile computes them
 * (https://qibawiki.rsna.org/index.php/Standardized_Uptake_Value_(SUV)): Bq/mL · g / Bq.
 */
import { type DataSet, itemsOf, numberOf, textOf } from './dataset.js';

/** What a PET file says of units, patient and injection. */
export interface PetDose {
  /** BQML, GML, CNTS, … */
  readonly units: string;
  /** kg */
  readonly weight: number | undefined;
  /** Bq when injected, or when counted, and seconds of its half-life. */
  readonly dose: number | undefined;
  readonly halfLife: number | undefined;
  /** START (of the scan), ADMIN(istration) or NONE: to when activities are corrected for decay. */
  readonly decay: string;
  /** Seconds since some midnight; a day may lie between them where dates are missing. */
  readonly injected: number | undefined;
  readonly series: number | undefined;
  readonly acquired: number | undefined;
  /** What Philips writes: counts to SUV, counts to Bq/mL. */
  readonly philipsSuv: number | undefined;
  readonly philipsActivity: number | undefined;
}

/** Seconds since 1970 of `YYYYMMDD` and `HHMMSS.frac`. */
function seconds(date: string, time: string): number | undefined {
  const t = /^(\d\d)(\d\d)?(\d\d(?:\.\d+)?)?/.exec(time);
  if (!t) return undefined;
  const d = /^(\d{4})(\d\d)(\d\d)/.exec(date);
  const day = d ? Date.UTC(Number(d[1]), Number(d[2]) - 1, Number(d[3])) / 1000 : 0;
  return day + 3600 * Number(t[1]) + 60 * Number(t[2] ?? 0) + Number(t[3] ?? 0);
}

export function petDoseOf(set: DataSet): PetDose {
  const [drug] = itemsOf(set, 'x00540016');
  const text = (tag: string) => textOf(set, tag);
  const full = drug ? textOf(drug, 'x00181078') : '';
  const series = seconds(text('x00080021'), text('x00080031'));
  const start = drug ? textOf(drug, 'x00181072') : '';
  const philips = text('x70530010').startsWith('Philips');
  return {
    units: text('x00541001').toUpperCase(),
    weight: numberOf(set, 'x00101030'),
    dose: numberOf(drug, 'x00181074'),
    halfLife: numberOf(drug, 'x00181075'),
    decay: text('x00541102').toUpperCase(),
    injected: full ? seconds(full.slice(0, 8), full.slice(8)) : seconds(text('x00080021'), start),
    series,
    acquired: seconds(text('x00080022') || text('x00080021'), text('x00080032')),
    philipsSuv: philips ? numberOf(set, 'x70531000') : undefined,
    philipsActivity: philips ? numberOf(set, 'x70531009') : undefined,
  };
}

/**
 * What stored activities are multiplied by to be SUV.
 * @param all of every slice: the scan begins with the earliest
 * @returns a factor, or why there is none
 */
export function suvFactor(all: readonly PetDose[]): { factor: number } | { why: string } {
  const [one] = all;
  if (!one) return { why: 'there are no slices' };
  const { units, weight, dose, halfLife, decay } = one;
  if (units === 'GML') return { factor: 1 };
  if (units === 'CNTS' && one.philipsSuv) return { factor: one.philipsSuv };
  const activity = units === 'BQML' ? 1 : units === 'CNTS' ? one.philipsActivity : undefined;
  if (!activity) return { why: `Units is ${units || 'not there'}` };
  if (!weight || weight <= 0) return { why: 'PatientWeight is not there' };
  if (!dose || dose <= 0) return { why: 'RadionuclideTotalDose is not there' };
  if (decay === 'ADMIN') return { factor: (activity * weight * 1000) / dose };
  if (decay !== 'START') return { why: `DecayCorrection is ${decay || 'not there'}` };
  if (!halfLife || halfLife <= 0) return { why: 'RadionuclideHalfLife is not there' };
  const earliest = all.reduce(
    (least, { acquired = Number.POSITIVE_INFINITY }) => Math.min(least, acquired),
    Number.POSITIVE_INFINITY,
  );
  // A series that was made after the scan says when that was, and not when the scan began.
  const scan = one.series !== undefined && one.series <= earliest ? one.series : earliest;
  if (one.injected === undefined || !Number.isFinite(scan))
    return { why: 'RadiopharmaceuticalStartTime or the scan’s time is not there' };
  let since = scan - one.injected;
  // Injected before midnight, and only times are known.
  if (since < 0) since += 86400;
  if (!(since >= 0 && since < 86400)) return { why: `the injection lies ${since} s before the scan` };
  return { factor: (activity * weight * 1000) / (dose * 2 ** (-since / halfLife)) };
}
