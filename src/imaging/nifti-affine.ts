import { SgpSamError } from '../base/errors.js';
import { affineFault, affineFromRows } from './affine.js';
import type { HeaderFields } from './nifti-fields.js';
import type { NiftiHeader } from './types.js';

/** Millimetres in the units of space that `xyzt_units` may name: metre, millimetre, micrometre. */
const MILLIMETRES: Readonly<Record<number, number>> = { 1: 1000, 2: 1, 3: 0.001 };

/**
 * The voxel→world affine of a header: the sform if its code is set, else the qform, else the voxel sizes alone
 * with the origin at voxel 0, as the standard says (nibabel then flips x and centres; ITK flips x and y). In mm: metres and
 * micrometres (`xyzt_units`) are converted, as ITK does; a unit that is not told or unknown is the millimetre.
 * @throws SgpSamError `bad-file`, naming the field, when it is not finite, singular, or of a size that no body has
 */
export function headerAffine(
  fields: HeaderFields,
  name: string,
): { affine: Float64Array; from: NiftiHeader['affineFrom'] } {
  const from = fields.get('sformCode') > 0 ? 'sform' : fields.get('qformCode') > 0 ? 'qform' : 'pixdim';
  const affine =
    from === 'sform'
      ? affineFromRows(Array.from({ length: 12 }, (_, n) => fields.get('srow', n)))
      : from === 'qform'
        ? qformAffine(fields, name)
        : pixdimAffine(fields);
  const unit = MILLIMETRES[fields.get('xyztUnits') & 7] ?? 1;
  // In metres 1.5 mm is no float32: of the digits that there are it must come out as 1.5, or a grid would be a voxel longer.
  const digits = fields.version === 1 ? 7 : 15;
  if (unit !== 1) for (let n = 0; n < 12; n++) affine[n] = Number((unit * affine[n]).toPrecision(digits));
  const dims = [1, 2, 3].map((n) => fields.get('dim', n)) as [number, number, number];
  const fault = affineFault(affine, dims);
  if (fault) {
    const where = {
      sform: `srow_x/y/z (sform_code ${fields.get('sformCode')})`,
      qform: `quatern/qoffset/pixdim (qform_code ${fields.get('qformCode')})`,
      pixdim: 'pixdim (no sform, no qform)',
    }[from];
    throw new SgpSamError(
      'bad-file',
      `${name}: the voxel-to-world affine from ${where}, in ${unit === 1 ? 'mm' : unit === 1000 ? 'metres' : 'micrometres'} by xyzt_units (${fields.get('xyztUnits')}), ${fault}`,
      'Repair the header, for example by converting the original scan again or with `nifti_tool -mod_hdr -mod_field xyzt_units 2`.',
    );
  }
  return { affine, from };
}

function pixdimAffine(fields: HeaderFields): Float64Array {
  const [di, dj, dk] = [1, 2, 3].map((n) => Math.abs(fields.get('pixdim', n))) as [number, number, number];
  return affineFromRows([di, 0, 0, 0, 0, dj, 0, 0, 0, 0, dk, 0]);
}

function qformAffine(fields: HeaderFields, name: string): Float64Array {
  let b = fields.get('quatern', 0);
  let c = fields.get('quatern', 1);
  let d = fields.get('quatern', 2);
  const squares = b * b + c * c + d * d;
  if (!(squares <= 1.01)) {
    throw new SgpSamError(
      'bad-file',
      `${name}: quatern_b/c/d = ${b}, ${c}, ${d} is not part of a unit quaternion`,
      'Repair the qform, or give the header an sform.',
    );
  }
  // Stored in single precision, the squares of a half turn may pass 1 by a few units in the last place: what is
  // left then is rounding, not a rotation.
  let a = 1 - squares;
  if (a < 3 * 2 ** -23) {
    a = 0;
    const norm = Math.sqrt(squares);
    b /= norm;
    c /= norm;
    d /= norm;
  } else {
    a = Math.sqrt(a);
  }
  const di = Math.abs(fields.get('pixdim', 1));
  const dj = Math.abs(fields.get('pixdim', 2));
  // pixdim[0] is qfac: negative for a left-handed grid, and 0 (never set) counts as 1.
  const dk = Math.abs(fields.get('pixdim', 3)) * (fields.get('pixdim', 0) < 0 ? -1 : 1);
  return affineFromRows([
    (a * a + b * b - c * c - d * d) * di,
    2 * (b * c - a * d) * dj,
    2 * (b * d + a * c) * dk,
    fields.get('qoffset', 0),
    2 * (b * c + a * d) * di,
    (a * a + c * c - b * b - d * d) * dj,
    2 * (c * d - a * b) * dk,
    fields.get('qoffset', 1),
    2 * (b * d - a * c) * di,
    2 * (c * d + a * b) * dj,
    (a * a + d * d - b * b - c * c) * dk,
    fields.get('qoffset', 2),
  ]);
}
