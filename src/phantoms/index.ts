/** `sgp-sam/phantoms`: volumes to train on, made from nothing. A part that loads when it is asked for. */
export {
  type Anatomy,
  type Contrast,
  type Modality,
  makeTrainingPhantom,
  type PhantomLesion,
  type TrainingPhantom,
  type TrainingPhantomOptions,
} from './training-phantom.js';
