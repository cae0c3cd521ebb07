/** Training, as an embedder sees it: in Node and in a page alike. Files and folders are `run-folder.node.ts`'s. */

export { type AdamWOptions, adamWDefaults, type ParameterGroup } from '../nn/adamw.js';
export { type LossOptions, losses } from '../nn/loss.js';
export { type BaseWeights, checkpointBase, initialBase } from './base.js';
export { type CaseSource, cached, phantomCases, type TrainingCase } from './cases.js';
export { type Checkpoint, type CheckpointRun, checkpointChunks, restoreCheckpoint } from './checkpoint.js';
export { type ExportKind, weightChunks } from './export.js';
export { type Arm, arms, groupsOf, lossOf, matcher, type Recipe } from './recipe.js';
export { type Schedule, scheduleFactor } from './schedule.js';
export { type StepResult, type TrainSample, TrainStep, type TrainStepOptions } from './step.js';
export {
  type TrainerEvent,
  type TrainerOptions,
  type TrainerProgress,
  train,
  trainerStart,
} from './trainer.js';
export { bySize, type LesionScore, meanDice, type ValidationOptions, validate } from './validation.js';
