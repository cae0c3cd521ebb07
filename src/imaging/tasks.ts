/** Tasks of the Medical Segmentation Decathlon as SGP-SAM's paper uses them: which label, channel and preprocessing. */
import { SgpSamError } from '../base/errors.js';
import type { DatasetDescription } from './dataset.js';
import type { PresetName } from './presets.js';

export interface Task {
  readonly name: string;
  /** The lesion's value in the label volumes, and the name that dataset.json must give it. */
  readonly label: number;
  readonly named: RegExp;
  readonly notNamed?: RegExp;
  /** A channel's name; none for images with one. */
  readonly channel?: string;
  readonly preset: PresetName;
  /** All values that label volumes may have. */
  readonly values: readonly number[];
}

export const tasks: Readonly<Record<string, Task>> = {
  /** Liver tumours on CT: 1 liver, 2 cancer; −1000…1000 HU. */
  Task03_Liver: {
    name: 'Task03_Liver',
    label: 2,
    named: /cancer|tumou?r/i,
    preset: 'sam-med3d-ct',
    values: [1, 2],
  },
  /**
   * Enhancing brain tumour on T1 with gadolinium: 1 edema, 2 non-enhancing, 3 enhancing. BraTS itself numbers them
   * otherwise (1 necrosis, 2 edema, 4 enhancing): such label volumes are refused.
   */
  Task01_BrainTumour: {
    name: 'Task01_BrainTumour',
    label: 3,
    named: /enhanc/i,
    notNamed: /non|not/i,
    channel: 't1gd',
    preset: 'sam-med3d',
    values: [1, 2, 3],
  },
};

/**
 * The task of this name.
 * @throws SgpSamError `bad-argument` for an unknown one
 */
export function taskByName(name: string): Task {
  if (Object.hasOwn(tasks, name)) return tasks[name];
  const names = Object.keys(tasks).join(', ');
  throw new SgpSamError('bad-argument', `there is no task "${name}"`, `Choose one of: ${names}.`);
}

/**
 * Refuses a data set whose dataset.json numbers the labels otherwise than the task.
 * @throws SgpSamError `bad-argument` naming the field
 */
export function checkTaskLabels(
  task: Task,
  { labels, name }: Pick<DatasetDescription, 'labels' | 'name'>,
): void {
  if (labels.length === 0) return;
  const own = labels.find(({ values }) => values.length === 1 && values[0] === task.label);
  if (own && task.named.test(own.name) && !task.notNamed?.test(own.name)) return;
  const is = own ? JSON.stringify(own.name) : 'not there';
  throw new SgpSamError(
    'bad-argument',
    `--task ${task.name} means label ${task.label}, and in dataset.json of ${name || 'this data set'} labels["${task.label}"] is ${is}`,
    'Leave --task out, and give --label, --channel and --preset.',
  );
}

/**
 * Refuses a label volume with values that the task does not have: it is numbered otherwise.
 * @param values those other than 0
 * @throws SgpSamError `bad-file`
 */
export function checkTaskValues(task: Task, values: readonly number[], file: string): void {
  const odd = values.filter((value) => !task.values.includes(value));
  if (odd.length === 0) return;
  throw new SgpSamError(
    'bad-file',
    `${file.split(/[\\/]/).slice(-2).join('/')} holds ${odd.join(', ')}, which ${task.name} does not have: its labels are ${task.values.join(', ')}`,
    'Give the label volumes as the Decathlon has them, or leave --task out.',
  );
}
