/** Serves the built viewer on this machine: http://localhost is a secure context, which WebGPU asks for. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { context } from 'esbuild';

const servedir = fileURLToPath(new URL('../dist/viewer', import.meta.url));
const port = Number(process.argv[2] ?? 8000);
if (!Number.isInteger(port) || port < 0 || port > 65535) {
  console.error(`'${process.argv[2]}' is no port: a whole number up to 65535, 0 for any that is free.`);
  process.exit(2);
}
if (!existsSync(servedir)) {
  console.error('There is no dist/viewer; npm run viewer builds it first.');
  process.exit(1);
}
const server = await context({});
try {
  const { port: taken } = await server.serve({ servedir, host: '127.0.0.1', port });
  console.log(`The viewer is at http://localhost:${taken}/ (Ctrl-C ends it).`);
} catch (error) {
  console.error(`Port ${port} cannot be served: ${error.message}. Another one: npm run viewer -- 8001`);
  await server.dispose();
  process.exitCode = 1;
}
