/** What scenarios share: the program under test, publishers, the browser, and looking at the page. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

/** Longest wait for anything on a machine that is busy with other tests. */
export const PATIENCE_MS = 30_000;

/** One scenario: what it started ends with it, in the reverse order. */
export class Stage {
  #ends = [];

  atEnd(end) {
    this.#ends.push(end);
  }

  async end() {
    while (this.#ends.length > 0) await this.#ends.pop()();
  }

  folder() {
    const folder = mkdtempSync(join(tmpdir(), 'sightline-browser-'));
    this.atEnd(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }

  async process(program, args, env = {}, input = 'ignore') {
    const child = new Process(program, args, env, input);
    this.atEnd(() => child.kill());
    await child.spawned;
    return child;
  }

  /** `sightline up`, or `serve` where `args` name no source; open to everybody, on free ports that stay the same through restarts. */
  async server(args = ['--source', 'test', '--open'], variables = {}) {
    const server = new Server(this, await freePorts(SERVER_PORTS), args, this.folder());
    server.variables = variables;
    await server.start();
    return server;
  }

  /** The same behind a cable of its own, which `unplug` and `plug` pull and put back. Needs root. */
  async serverBehindACable(args = ['--source', 'test', '--open']) {
    const server = new Server(this, await freePorts(SERVER_PORTS), args, this.folder());
    const namespace = this.namespace();
    // One network for each of such tests that run at the same time.
    const network = `10.78.${process.pid % 250}`;
    ip(`link add ${namespace} type veth peer name cable netns ${namespace}`);
    // The namespace takes it along, but not at once.
    this.atEnd(() => ip('link delete', namespace));
    ip(`address add ${network}.1/24 dev ${namespace}`);
    ip(`-n ${namespace} address add ${network}.2/24 dev cable`);
    ip(`link set ${namespace} up`);
    for (const name of ['lo', 'cable']) ip(`-n ${namespace} link set ${name} up`);
    server.namespace = namespace;
    server.prefix = ['ip', 'netns', 'exec', namespace];
    server.host = `${network}.2`;
    server.unplug = () => ip(`-n ${namespace} link set cable down`);
    server.plug = () => ip(`-n ${namespace} link set cable up`);
    await server.start();
    return server;
  }

  /** A network of nobody's. Needs root. */
  namespace(name = '') {
    const namespace = `slb${process.pid}${name}`;
    // Of tests that were killed before they could remove theirs.
    for (const [, left, id] of spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout?.matchAll(/^(slb(\d+)[a-z]*)\b/gm) ?? []) {
      if (!existsSync(`/proc/${id}`)) ip('netns delete', left);
    }
    ip('netns add', namespace);
    this.atEnd(() => ip('netns delete', namespace));
    return namespace;
  }

  async publisher(server, name = 'zerolatency', args = ['--source', 'test']) {
    const url = `rtsp://${server.host}:${server.ports.rtsp}/${name}`;
    return this.process(process.env.SIGHTLINE, ['publish', ...args, url]);
  }

  /** FFmpeg, with pictures of another size and an encoder of another profile than ours. */
  async ffmpeg(server, { size, profile, name = 'zerolatency' }) {
    const input = ['-nostdin', '-v', 'error', '-re', '-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=30`];
    const encoder = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', profile, '-pix_fmt', 'yuv420p', '-g', '30'];
    const url = `rtsp://${server.host}:${server.ports.rtsp}/${name}`;
    return this.process('ffmpeg', [...input, ...encoder, '-f', 'rtsp', '-rtsp_transport', 'tcp', url]);
  }

  /** A page of its own browser context. Everything that the browser complains about is kept. */
  async page(options = {}) {
    this.browser ??= await this.#launch();
    return this.#pageOf(this.browser, options);
  }

  async #pageOf(browser, options) {
    const context = await browser.newContext({ viewport: { width: 1_280, height: 800 }, ...options });
    this.atEnd(() => context.close().catch(() => {}));
    const page = await context.newPage();
    // A request that is answered on its behalf at this moment is nobody's any more.
    this.atEnd(() => page.unrouteAll({ behavior: 'ignoreErrors' }).catch(() => {}));
    page.complaints = [];
    page.on('pageerror', (error) => page.complaints.push(`error: ${error.message}`));
    page.on('console', (message) => {
      // What cannot be fetched is for the page to deal with, and it does.
      const expected = /Failed to load resource|WebSocket connection/.test(message.text());
      if (['error', 'warning'].includes(message.type()) && !expected) page.complaints.push(message.text());
    });
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (event) => {
        window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}`);
      });
    });
    return page;
  }

  /** Pages are from now on those of a browser in this network. */
  async browseFrom(namespace) {
    const program = join(this.folder(), 'chromium');
    writeFileSync(program, `#!/bin/sh\nexec ip netns exec ${namespace} ${LAUNCH.executablePath} "$@"\n`, { mode: 0o755 });
    this.browser = await this.#launch({ ...LAUNCH, executablePath: program });
  }

  async #launch(options = LAUNCH) {
    const browser = await chromium.launch(options);
    this.atEnd(() => browser.close());
    return browser;
  }

  /** A browser that can be killed. */
  async mortalBrowser() {
    const server = await chromium.launchServer(LAUNCH);
    this.atEnd(() => server.kill());
    const browser = await chromium.connect(server.wsEndpoint());
    return { page: (options = {}) => this.#pageOf(browser, options), kill: () => server.kill() };
  }
}

/** What a server listens on. */
const SERVER_PORTS = ['rtsp', 'http', 'https', 'hls', 'webrtc', 'ice'];
/** A camera and a microphone that need nobody's permission. */
const MEDIA_ARGS = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];
const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Tests may run as root, in containers with little shared memory, and without an output for sound.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--mute-audio', ...MEDIA_ARGS],
};

class Process {
  lines = [];

  constructor(program, args, env, input) {
    this.name = `${program} ${args.join(' ')}`;
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SIGHTLINE')));
    this.child = spawn(program, args, { env: { ...own, ...env }, stdio: [input, 'pipe', 'pipe'] });
    this.spawned = once(this.child, 'spawn');
    this.ended = once(this.child, 'exit');
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.lines.push(line));
    }
  }

  /** Waits for a line of which `wanted` makes something. */
  async says(what, wanted) {
    return until(`${this.name} says: ${what}`, () => {
      const found = this.lines.map(wanted).find((made) => made !== undefined && made !== null);
      if (found === undefined && this.child.exitCode !== null) throw new Error(`${this.name} ended:\n${this.lines.join('\n')}`);
      return found;
    });
  }

  signal(name) {
    this.child.kill(name);
  }

  async kill() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

class Server {
  /** Where it is reached. */
  host = '127.0.0.1';
  /** Words in front of its command, such as run it somewhere else. */
  prefix = [];
  /** Settings beside its ports, by their names in the environment. */
  variables = {};

  constructor(stage, ports, args, folder) {
    Object.assign(this, { stage, ports, args, folder });
  }

  /** Its settings, for other commands of the program too. */
  env() {
    const { ports } = this;
    return {
      SIGHTLINE_RTSP_PORT: ports.rtsp,
      SIGHTLINE_RTSP_RTP_PORT: 0,
      SIGHTLINE_RTSP_RTCP_PORT: 0,
      SIGHTLINE_HTTP_PORT: ports.http,
      SIGHTLINE_RTSP_RTSPS_PORT: 0,
      SIGHTLINE_HTTP_HTTPS_PORT: ports.https,
      SIGHTLINE_HLS_PORT: ports.hls,
      SIGHTLINE_WEBRTC_PORT: ports.webrtc,
      SIGHTLINE_WEBRTC_ICE_PORT: ports.ice,
      ...this.variables,
    };
  }

  async start() {
    const command = this.args.includes('--source') ? ['up'] : ['serve'];
    const args = [...command, '--log', 'json', '--state-dir', join(this.folder, 'state'), ...this.args];
    const [program, ...words] = [...this.prefix, process.env.SIGHTLINE, ...args];
    this.process = await this.stage.process(program, words, this.env());
    await this.process.says('listening', (line) => (line.includes('"listening"') ? true : undefined));
  }

  async restart() {
    await this.process.kill();
    await this.start();
  }

  /** As on another machine: with other tokens and another certificate. */
  forget() {
    rmSync(join(this.folder, 'state'), { recursive: true });
  }

  /** The link that `sightline link` prints. */
  async link() {
    const link = await this.stage.process(process.env.SIGHTLINE, ['link', '--state-dir', join(this.folder, 'state')], this.env());
    return link.says('a link', (line) => /^https?:\S+/.exec(line)?.[0]);
  }

  token(role) {
    return JSON.parse(readFileSync(join(this.folder, 'state', 'tokens.json'), 'utf8'))[role];
  }

  /** What is at this path, on the port of WebRTC unless another is said. */
  url(path = 'zerolatency/', port = this.ports.webrtc) {
    return `http://${this.host}:${port}/${path}`;
  }
}

/**
 * Of these names each a port that nobody has. Servers are killed and come back to theirs: none is of those that the system gives to whoever wants any, as the
 * browser does for each of its connections (`net.ipv4.ip_local_port_range`).
 */
export async function freePorts(names) {
  const [first] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/).map(Number);
  const ports = {};
  for (const name of names) {
    do ports[name] = FIRST_PORT + Math.floor(Math.random() * (first - FIRST_PORT));
    while (!(await isFree(ports[name])) || Object.entries(ports).some(([other, port]) => other !== name && port === ports[name]));
  }
  return ports;
}

/** Below are those of well-known services. */
const FIRST_PORT = 10_000;

async function isFree(port) {
  const socket = createServer();
  const listens = await new Promise((answer) => {
    socket.once('listening', () => answer(true)).once('error', () => answer(false));
    socket.listen(port, '0.0.0.0');
  });
  if (listens) await new Promise((closed) => socket.close(closed));
  return listens;
}

/**
 * Notes when nothing went on for so long that three tenths of a second of pictures are in danger, as the machine gave its time to others: in this process, and in
 * a page of nobody's beside the one that is measured. That has a process of its own, so that a page which holds itself up is not excused by it.
 */
export async function watchMachine(stage) {
  const witness = await stage.page();
  await witness.evaluate(notePauses);
  notePauses();
  const seen = async () => [globalThis.pauses, await witness.evaluate(() => globalThis.pauses)];
  return { pauses: async () => (await seen()).flat() };
}

/** Leaves `globalThis.pauses`. */
function notePauses() {
  globalThis.pauses = [];
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    if (now - last > 120) globalThis.pauses.push({ at: Date.now(), ms: Math.round(now - last) });
    last = now;
  }, 20).unref?.();
}

/** Runs `ip` with these words. */
export function ip(...words) {
  const ended = spawnSync('ip', words.join(' ').split(' '), { encoding: 'utf8' });
  if (ended.status === 0) return ended.stdout;
  const why = ended.error?.message ?? ended.stderr;
  throw new Error(`\`ip ${words.join(' ')}\` failed: ${why}; what makes network namespaces needs root for it (CAP_NET_ADMIN)`);
}

/** Asks until there is an answer other than undefined, null and false. */
export async function until(what, ask, patienceMs = PATIENCE_MS) {
  const end = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== null && answer !== false) return answer;
    if (performance.now() > end) throw new Error(`waited ${patienceMs} ms in vain until ${what}`);
    await pause(20);
  }
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What the page says about the stream it shows. */
export function phase(page) {
  return page.evaluate(() => document.querySelector('.notice')?.dataset.phase ?? null);
}

export function words(page) {
  return page.evaluate(() => document.querySelector('.notice')?.innerText ?? '');
}

/** Waits until the page says one of these. Says how long it took and what else it said, in milliseconds. */
export async function becomes(page, wanted, patienceMs = PATIENCE_MS) {
  const list = [wanted].flat();
  const began = performance.now();
  let last = null;
  await until(`the page says ${list.join(' or ')}`, async () => list.includes((last = await phase(page))), patienceMs).catch(async (error) => {
    const all = last === null ? await page.evaluate(() => document.body.innerText.slice(0, 1_000)) : '';
    throw new Error(`${error.message}; it says ${last}: ${await words(page)}${all} on ${page.url()}`);
  });
  return performance.now() - began;
}

/** How many pictures the page has shown. */
export function pictures(page) {
  return page.evaluate(() => document.getElementById('video-stream')?.getVideoPlaybackQuality().totalVideoFrames ?? 0);
}

/** Fails unless pictures come onto the screen, with different content. */
export async function moves(page, patienceMs = 5_000) {
  const look = () =>
    page.evaluate(() => {
      const video = document.getElementById('video-stream');
      if (!video) return '';
      const canvas = new OffscreenCanvas(64, 48);
      const context = canvas.getContext('2d');
      context.drawImage(video, 0, 0, 64, 48);
      return [...context.getImageData(0, 0, 64, 48).data].join();
    });
  const first = await look();
  await until('the picture moves', async () => (await look()) !== first, patienceMs);
}

/** Nothing was refused by the policy of the page, and nothing went wrong in it. */
export async function isClean(page) {
  const violations = await page.evaluate(() => window.violations);
  const wrong = [...violations, ...page.complaints];
  if (wrong.length > 0) throw new Error(`the browser complains:\n${wrong.join('\n')}`);
}

const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** Nothing is wider than the screen, and nothing serious is wrong for who hears the page. */
export async function isSound(page, where) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(over <= 0, `${where}: ${over} pixels too wide`);
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const bad = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  check(bad.length === 0, `${where}: ${JSON.stringify(bad.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`)]))}`);
}

/** Fails, with what was expected. */
export function check(holds, what) {
  if (!holds) throw new Error(what);
}

export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];
}
