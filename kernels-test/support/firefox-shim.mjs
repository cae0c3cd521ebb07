#!/usr/bin/env node
/**
 * Debian's Firefox as Playwright's `moz-firefox` channel wants it: what that asks for by WebDriver BiDi and an extended support release
 * does not know yet is answered here, everything else is handed on. Playwright starts it in the browser's place.
 */
import { spawn } from 'node:child_process';
import { renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { WebSocket, WebSocketServer } from 'ws';

/** Colour schemes of a page: no test that runs here looks at them. */
const UNKNOWN = new Set(['emulation.setMediaFeaturesOverride']);

/** What pages call their downloads, by their addresses. */
const downloads = new Map();

/**
 * What Firefox tells, as Playwright wants it: downloads have an identity, and the name that the page gave them, where Firefox numbers a
 * second one of that name.
 */
function told(data) {
  const text = data.toString();
  if (!text.includes('"browsingContext.download')) return text;
  const message = JSON.parse(text);
  const { params = {}, method } = message;
  const { url, filepath } = params;
  const more = { download: url };
  if (method === 'browsingContext.downloadWillBegin') {
    more.suggestedFilename = params.suggestedFilename.replace(/\(\d+\)(?=\.)/, '');
    downloads.set(url, more.suggestedFilename);
  } else if (filepath) renameSync(filepath, join(dirname(filepath), downloads.get(url)));
  return JSON.stringify({ ...message, params: { ...params, ...more } });
}

const firefox = spawn(process.env.SGP_SAM_FIREFOX_PROGRAM, process.argv.slice(2), {
  stdio: ['ignore', 'inherit', 'pipe'],
});
firefox.on('exit', (code) => process.exit(code ?? 1));
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => firefox.kill(signal));

let said = '';
firefox.stderr.on('data', (bytes) => {
  const text = bytes.toString();
  const before = said;
  said += text;
  const found = /WebDriver BiDi listening on (ws:\/\/\S+)\s/;
  const [, url] = found.exec(said) ?? [];
  if (!url || found.test(before)) process.stderr.write(url ? text : '');
  else serve(url);
});

function serve(url) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false }, () => {
    process.stderr.write(`WebDriver BiDi listening on ws://127.0.0.1:${server.address().port}\n`);
  });
  server.on('connection', (client, { url: path }) => {
    const browser = new WebSocket(`${url}${path === '/' ? '/session' : path}`, {
      perMessageDeflate: false,
      maxPayload: 2 ** 30,
    });
    const opened = new Promise((done) => browser.on('open', done));
    client.on('message', async (data) => {
      const text = data.toString();
      const { id, method } = JSON.parse(text);
      await opened;
      if (UNKNOWN.has(method)) client.send(JSON.stringify({ type: 'success', id, result: {} }));
      else browser.send(text);
    });
    browser.on('message', (data) => client.send(told(data)));
    client.on('close', () => browser.close());
    browser.on('close', () => client.close());
    browser.on('error', () => client.close());
  });
}
