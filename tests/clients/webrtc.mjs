// Chromium with the page beside this file, steered line by line, for the end-to-end tests.
//
// usage: node webrtc.mjs FOLDER
//
// FOLDER has playwright-core in node_modules (`scripts/setup test` makes it). Standard input: one JSON array a line, the name of a function of
// the page and its arguments. Standard output: its result, one line of JSON each, `{"error": …}` when it throws.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { resolve } from 'node:path';

const { chromium } = createRequire(resolve(process.argv[2], 'package.json'))('playwright-core');
const page = readFileSync(new URL('webrtc.html', import.meta.url));
// Of another origin than the server under test, as a page of somebody's own would be.
const server = createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end(page)).listen(0, '127.0.0.1');
await new Promise((ready) => server.once('listening', ready));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--autoplay-policy=no-user-gesture-required',
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream',
  ],
});
const tab = await browser.newPage();
await tab.goto(`http://127.0.0.1:${server.address().port}/`);
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...given] = JSON.parse(line);
  const result = await tab
    .evaluate(([called, values]) => globalThis[called](...values), [name, given])
    .catch((error) => ({ error: String(error) }));
  console.log(JSON.stringify(result ?? null));
}
await browser.close();
server.close();
