/** node tools/architecture.mjs: draws docs/modules.svg from the imports in src. A test fails while it is not current. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load, root } from './load.mjs';

const { modulesSvg } = await load('tools/modules.ts');
await writeFile(join(root, 'docs', 'modules.svg'), modulesSvg(root));
console.log('docs/modules.svg');
