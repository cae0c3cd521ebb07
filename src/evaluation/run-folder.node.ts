/**
 * An evaluation's folder: `run.json` says what is asked, `cases/ID.json` what each finished case came to, and
 * `pictures/ID.png` shows it. Every file is written beside and renamed, so whatever is there is whole, and a run that was
 * stopped at any moment goes on with the same command. Once all cases are there: `results.json`, `cases.csv`, `lesions.csv`,
 * `report.html`. No file says when or how fast it was made: the same question gives the same bytes. What is read back carries a
 * digest.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.node.js';
import { differenceOf, isJsonObject, jsonText, plainJson, withDigest } from '../base/json.js';
import { readJsonFile } from '../base/json.node.js';
import { filesBelow } from '../imaging/formats/files.node.js';
import { evaluationReport, worstCases } from './report.js';
import { type CaseOutcome, casesCsv, lesionsCsv, resultsJson, resultsOf, type Settings } from './results.js';
import { inShard, type Shard } from './shard.js';
import { checkStored } from './stored.js';

/** Version 1 had no digests. */
const FORMAT = 'sgp-sam evaluation 2';
/** Of run.json, without which cases are of nothing. */
const MEND_RUN = 'Evaluate anew, into another folder.';

/** What an evaluation writes beside its cases and pictures. */
export const evaluationFiles = [
  'run.json',
  'results.json',
  'cases.csv',
  'lesions.csv',
  'report.html',
] as const;

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

/** SHA-256 of texts, files and folders (their files' names and content), each apart from the next. */
export async function contentHash(parts: readonly ({ text: string } | { file: string })[]): Promise<string> {
  const all = createHash('sha256');
  for (const part of parts) {
    const own = createHash('sha256');
    if ('text' in part) own.update(part.text);
    else {
      try {
        const isFolder = (await stat(part.file)).isDirectory();
        const files = isFolder ? (await filesBelow(part.file)).map(({ name }) => name) : [part.file];
        for (const file of files) {
          if (isFolder) own.update(`${relative(part.file, file)}\n${(await stat(file)).size}\n`);
          for await (const piece of createReadStream(file, { highWaterMark: 1 << 20 })) own.update(piece);
        }
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new SgpSamError('bad-file', `cannot read ${part.file}: ${why}`, undefined, { cause });
      }
    }
    all.update(own.digest());
  }
  return all.digest('hex');
}

const MEND = 'Delete it, and evaluate again.';

function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SgpSamError('bad-file', `${path}: cannot be read: ${why}`, MEND, { cause });
  }
}
const readJson = (path: string): unknown => readJsonFile(path, MEND);

/**
 * A file's name for a case.
 * @throws SgpSamError `bad-file` for an id that no file can be called by
 */
function fileName(id: string, ending: string): string {
  let name: string;
  try {
    name = `${encodeURIComponent(id)}${ending}`;
  } catch (cause) {
    throw new SgpSamError(
      'bad-file',
      `case ${JSON.stringify(id)}: half a character is in its name`,
      'Rename it.',
      {
        cause,
      },
    );
  }
  // Every file system's limit, in bytes; all of these are ASCII.
  if (name.length <= 255) return name;
  throw new SgpSamError(
    'bad-file',
    `case ${id}: its file would be called by ${name.length} bytes, and 255 are possible`,
    'Give it a shorter name.',
  );
}

export class EvaluationFolder {
  private constructor(
    readonly folder: string,
    readonly description: RunDescription,
  ) {}

  /**
   * Makes the folder, or finds the same run in it. Whoever calls has its lock (`FolderLock`).
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
    const own = new EvaluationFolder(folder, description);
    // That every case can be kept shows before any is evaluated.
    for (const id of own.own) {
      own.caseFile(id);
      own.pictureFile(id);
    }
    const text = `${jsonText(withDigest({ format: FORMAT, ...description }, path), path)}\n`;
    if (!existsSync(path)) await writeFileAtomic(path, text);
    return own;
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
    const { format: _, ...description } = checkStored(json, path, 'run', MEND_RUN);
    return new EvaluationFolder(folder, description as unknown as RunDescription);
  }

  private caseFile(id: string): string {
    return join(this.folder, 'cases', fileName(id, '.json'));
  }

  pictureFile(id: string): string {
    return join(this.folder, 'pictures', fileName(id, '.png'));
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
    if (!existsSync(path)) return undefined;
    const { clicks } = this.description.settings;
    return checkStored(readJson(path), path, { clicks, id }, MEND) as unknown as CaseFile;
  }

  /** A case's picture, if it has one. */
  picture(id: string): Uint8Array | undefined {
    const path = this.pictureFile(id);
    return existsSync(path) ? readFile(path) : undefined;
  }

  async put(id: string, file: CaseFile, picture?: Uint8Array): Promise<void> {
    // The picture first: a case that is there is complete.
    if (picture) await writeFileAtomic(this.pictureFile(id), picture);
    const path = this.caseFile(id);
    await writeFileAtomic(path, `${jsonText(withDigest(file, path), path)}\n`);
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
      const picture = pictured.has(id) ? this.picture(id) : undefined;
      return picture && `data:image/png;base64,${Buffer.from(picture).toString('base64')}`;
    };
    const results = JSON.stringify(withDigest(resultsJson(settings, outcomes), 'results'), null, 1);
    const files = {
      'results.json': `${results}\n`,
      'cases.csv': casesCsv(cases),
      'lesions.csv': lesionsCsv(cases),
      'report.html': evaluationReport(settings, outcomes, pictureOf),
    };
    for (const [name, text] of Object.entries(files)) await writeFileAtomic(join(this.folder, name), text);
    return outcomes;
  }
}
