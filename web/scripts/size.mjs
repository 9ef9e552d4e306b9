/**
 * Fails when something that a page loads has grown too large: the shell, each screen beside it, and all together. By gzip, which all browsers know.
 *
 * hls.js is loaded later and by few, and not counted.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const KB = 1_024;
/** As docs/design/dashboard.md §1 has them: what each may add to the shell at most. By the module that is imported. */
export const LIMITS = {
  'src/main.ts': ['shell', 65],
  'src/views/Control.svelte': ['control center', 15],
  'src/control/Steer.svelte': ['steering', 3],
  'src/views/Wall.svelte': ['wall', 14],
  'src/charts/chart.ts': ['charts', 26],
  'src/views/Timeline.svelte': ['timeline', 30],
  'src/views/Cameras.svelte': ['cameras', 7],
  'src/cameras/Wizard.svelte': ['adding a camera', 13],
  'src/cameras/Edit.svelte': ['changing a camera', 6],
  'src/views/Inspector.svelte': ['inspector', 8],
  'src/views/System.svelte': ['system', 10],
  'src/views/Events.svelte': ['events', 14],
  'src/views/Exports.svelte': ['exports', 14],
  'src/views/Settings.svelte': ['settings', 18],
  'src/settings/Forms.svelte': ['forms of settings', 10],
  'src/settings/File.svelte': ['settings file', 7],
  'src/settings/Users.svelte': ['users', 5],
  'src/views/FirstRun.svelte': ['first run', 5],
  'src/entry/Ready.svelte': ['first picture', 5],
  'src/views/Join.svelte': ['join', 5],
  'src/views/Shared.svelte': ['shared', 5],
  'src/views/Publish.svelte': ['publishing', 8],
  'src/words/vi/index.ts': ['Vietnamese', 14],
  'src/words/vi/settings.ts': ['Vietnamese of settings', 6],
};
const ALL_KB = 250;

/**
 * What each entry brings beside the first: `chunks` by file, each with the `module` it stands for, its `imports`, `dynamicImports` and `css`.
 * Chunks that several share are counted for each of them, and once together.
 */
export function sizes(chunks, bytesOf) {
  const needed = (file, seen = new Set()) => {
    const chunk = chunks[file];
    if (!chunk || seen.has(file)) return seen;
    seen.add(file);
    for (const css of chunk.css) seen.add(css);
    for (const next of chunk.imports) needed(next, seen);
    return seen;
  };
  const sum = (files) => [...files].reduce((bytes, file) => bytes + bytesOf(file), 0);
  const entries = Object.entries(chunks).filter(([, { module, entry }]) => module && entry && !/node_modules\/hls/.test(module));
  const [mainFile] = entries.find(([, { main }]) => main) ?? [];
  const shell = mainFile ? needed(mainFile) : new Set();
  const found = entries.map(([file, { module, main }]) => {
    const there = new Set(main ? [] : shell);
    // Whoever asks for it is there, too.
    const askers = Object.keys(chunks).filter((other) => chunks[other].dynamicImports.includes(file));
    const [first, ...others] = askers.map((asker) => needed(asker));
    for (const one of first ?? []) if (others.every((files) => files.has(one))) there.add(one);
    return { module, bytes: sum([...needed(file)].filter((one) => !there.has(one))) };
  });
  const all = new Set(entries.flatMap(([file]) => [...needed(file)]));
  return { found, together: sum(all) };
}

function report() {
  const out = process.env.SIGHTLINE_WEB_OUT ?? 'dist';
  const chunks = JSON.parse(readFileSync(join(out, '.chunks.json'), 'utf8'));
  // What is too small to gain by it is sent as it is.
  const bytesOf = (file) => statSync(join(out, existsSync(join(out, `${file}.gz`)) ? `${file}.gz` : file)).size;
  const { found, together } = sizes(chunks, bytesOf);
  const wrong = [];
  const line = (name, bytes, limit) => {
    console.log(`${(bytes / KB).toFixed(1).padStart(7)} of ${String(limit).padStart(3)} KB  ${name}`);
    if (bytes === 0 || bytes > limit * KB) wrong.push(name);
  };
  for (const { module, bytes } of found) {
    const [name, limit] = LIMITS[module] ?? [];
    if (name) line(name, bytes, limit);
    // Small parts of what has a limit.
    else if (bytes > 4 * KB) wrong.push(`${module}, for which there is no limit in scripts/size.mjs`);
  }
  line('together', together, ALL_KB);
  if (wrong.length > 0) {
    console.error(`too large, or nothing at all: ${wrong.join('; ')}. What was added, and can it be loaded when it is needed?`);
    process.exit(1);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) report();
