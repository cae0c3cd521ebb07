/**
 * An evaluation's folder: `run.json` says what is asked, `cases/ID.json` what each finished case came to, and
 * `pictures/ID.png` shows it. Every file is written beside and renamed, so whatever is there is whole, and a run that was
 * stopped at any moment goes on with the same command. Once all cases are there: `results.json`, `cases.csv`, `lesions.csv`,
 * `report.html`. No file says when or how fast it was made: the same question gives the same bytes.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SgpSamError } from '../errors.js';
import { differenceOf, isJsonObject, jsonText, plainJson } from '../json.js';
import { readJsonFile } from '../json.node.js';
import { writeFileAtomic } from '../volumes/nifti.node.js';
import { evaluationReport, worstCases } from './report.js';
import { type CaseOutcome, casesCsv, lesionsCsv, resultsJson, resultsOf, type Settings } from './results.js';
import { inShard, type Shard } from './shard.js';

const FORMAT = 'sgp-sam evaluation 1';

/** What a folder is for. */
export interface RunDescription {
  readonly settings: Settings;
  /** Every case of the whole run, in order; of a shard too. */
  readonly cases: readonly string[];
  /** Null: all of it. */
  readonly shard: Shard | null;
}

/** A case as its file has it. */
interface CaseFile {
  /** Of settings and the content of image and label. */
  readonly key: string;
  readonly outcome: CaseOutcome;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** SHA-256 of texts and files, each with its length or name apart from the next. */
export async function contentHash(parts: readonly ({ text: string } | { file: string })[]): Promise<string> {
  const all = createHash('sha256');
  for (const part of parts) {
    const own = createHash('sha256');
    if ('text' in part) own.update(part.text);
    else {
      try {
        for await (const piece of createReadStream(part.file, { highWaterMark: 1 << 20 })) own.update(piece);
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new SgpSamError('bad-file', `Cannot read ${part.file}: ${why}.`, undefined, { cause });
      }
    }
    all.update(own.digest());
  }
  return all.digest('hex');
}

const readJson = (path: string): unknown => readJsonFile(path, 'Delete it, and evaluate again.');

export class EvaluationFolder {
  private constructor(
    readonly folder: string,
    readonly description: RunDescription,
  ) {}

  /**
   * Makes the folder, or finds the same run in it.
   * @throws SgpSamError `bad-argument` naming the first setting in which a run that is there differs; `bad-file`
   */
  static async open(folder: string, description: RunDescription): Promise<EvaluationFolder> {
    const path = join(folder, 'run.json');
    if (existsSync(path)) {
      const there = EvaluationFolder.read(folder).description;
      const difference = differenceOf(plainJson(there), plainJson(description));
      if (difference) {
        throw new SgpSamError(
          'bad-argument',
          `${path}: '${difference.path}' is ${difference.a}, and now ${difference.b}`,
          'Go on with the settings the folder was begun with, or choose another folder.',
        );
      }
    }
    try {
      for (const part of ['cases', 'pictures']) mkdirSync(join(folder, part), { recursive: true });
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SgpSamError('bad-file', `${folder} cannot be made: ${why}`, 'Choose another folder.', {
        cause,
      });
    }
    const text = `${jsonText({ format: FORMAT, ...description }, path)}\n`;
    if (!existsSync(path)) await writeFileAtomic(path, bytes(text));
    return new EvaluationFolder(folder, description);
  }

  /**
   * Reads what a folder is for.
   * @throws SgpSamError `bad-file` for one that is no evaluation's
   */
  static read(folder: string): EvaluationFolder {
    const path = join(folder, 'run.json');
    if (!existsSync(path)) {
      throw new SgpSamError(
        'bad-file',
        `${folder} holds no evaluation: there is no ${path}`,
        'Give a folder of eval --run.',
      );
    }
    const json = readJson(path);
    if (!isJsonObject(json) || json.format !== FORMAT) {
      const has = isJsonObject(json) ? JSON.stringify(json.format) : 'no object';
      throw new SgpSamError(
        'bad-file',
        `${path}: 'format' is ${has}, not "${FORMAT}"`,
        'Evaluate with one version throughout.',
      );
    }
    const { format: _, ...description } = json;
    return new EvaluationFolder(folder, description as unknown as RunDescription);
  }

  private caseFile(id: string): string {
    return join(this.folder, 'cases', `${encodeURIComponent(id)}.json`);
  }

  pictureFile(id: string): string {
    return join(this.folder, 'pictures', `${encodeURIComponent(id)}.png`);
  }

  /** The ids that are this folder's to evaluate. */
  get own(): string[] {
    return this.description.cases.filter((_, n) => inShard(n, this.description.shard));
  }

  /** What decides a case: the settings, what is asked of it alone, if anything is, and what its files hold. */
  key(files: readonly string[], own?: unknown): Promise<string> {
    const texts = [jsonText(this.description.settings, 'settings')];
    if (own !== undefined) texts.push(jsonText(own, 'case'));
    return contentHash([...texts.map((text) => ({ text })), ...files.map((file) => ({ file }))]);
  }

  /**
   * A case's outcome and key, if it is there.
   * @throws SgpSamError `bad-file` for a file that is damaged
   */
  find(id: string): CaseFile | undefined {
    const path = this.caseFile(id);
    return existsSync(path) ? (readJson(path) as unknown as CaseFile) : undefined;
  }

  async put(id: string, file: CaseFile, picture?: Uint8Array): Promise<void> {
    // The picture first: a case that is there is complete.
    if (picture) await writeFileAtomic(this.pictureFile(id), picture);
    const path = this.caseFile(id);
    await writeFileAtomic(path, bytes(`${jsonText(file, path)}\n`));
  }

  /**
   * Writes results, tables and report.
   * @throws SgpSamError `bad-file` naming a case that is not there
   */
  async finish(): Promise<readonly CaseOutcome[]> {
    const { settings } = this.description;
    const outcomes = this.own.map((id) => {
      const found = this.find(id);
      if (found) return found.outcome;
      throw new SgpSamError(
        'bad-file',
        `${this.caseFile(id)} is not there`,
        'Run eval again: it goes on with what is missing.',
      );
    });
    const cases = resultsOf(outcomes);
    const pictured = new Set(worstCases(cases).map(({ id }) => id));
    const pictureOf = (id: string) => {
      const path = this.pictureFile(id);
      if (!pictured.has(id) || !existsSync(path)) return undefined;
      return `data:image/png;base64,${readFileSync(path).toString('base64')}`;
    };
    const results = JSON.stringify(resultsJson(settings, outcomes), null, 1);
    const files = {
      'results.json': `${results}\n`,
      'cases.csv': casesCsv(cases),
      'lesions.csv': lesionsCsv(cases),
      'report.html': evaluationReport(settings, outcomes, pictureOf),
    };
    for (const [name, text] of Object.entries(files))
      await writeFileAtomic(join(this.folder, name), bytes(text));
    return outcomes;
  }
}
