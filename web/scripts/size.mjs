/** Fails when what a page loads at once has grown too large. hls.js is loaded later and by few, and not counted. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const LIMIT_BYTES = 250 * 1_024;
const folder = join(process.env.SIGHTLINE_WEB_OUT ?? 'dist', 'assets');
const names = readdirSync(folder);
let sum = 0;
for (const name of names) {
  // What is sent to a browser that knows gzip, which all do.
  const sent = !/\.(br|gz)$/.test(name) && !name.startsWith('hls') && (names.includes(`${name}.gz`) ? `${name}.gz` : name);
  if (!sent) continue;
  const bytes = statSync(join(folder, sent)).size;
  sum += bytes;
  console.log(`${String(bytes).padStart(8)}  ${sent}`);
}
console.log(`${String(sum).padStart(8)}  together, of ${LIMIT_BYTES}`);
if (sum === 0 || sum > LIMIT_BYTES) {
  console.error(sum === 0 ? 'nothing was built' : 'the page is too large: what was added, and can it be loaded when it is needed?');
  process.exit(1);
}
