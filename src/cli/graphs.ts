/** What an encode, a decode and a training step compute, as graphs: for planning where nothing is run. */
import type { Graph } from '../engine/graph/graph.js';
import type { ModelConfig } from '../sam/config.js';
import { decoderGraph, encoderGraph } from '../sam/sam-med3d.js';
import { trainingGraph } from '../training/graph.js';
import { losses, matcher } from '../training/index.js';
import type { Work } from './work.js';

/** @param train of a training step: the names of what is trained, with * and commas */
export function graphOf(work: Work, config: ModelConfig, train: string): Graph {
  if (work === 'encode') return encoderGraph(config);
  if (work === 'decode')
    return decoderGraph(config, { points: 1, counted: true, mask: true, masks: 1, upsample: true });
  return trainingGraph(config, { points: 1, mask: true, loss: losses.zoom, trainable: matcher(train) }).graph;
}
