/**
 * From glass to glass in Chromium: how old the picture on the screen is, by the stamp in it, and how soon after the page is opened it is there.
 * Started by bench/glass. One server after the other, one page at a time.
 *
 *   node glass.mjs [--runs 3] [--seconds 10] [--ways test,webrtc,hls] [--out FILE.json] [--table]
 *
 * Belongs here: what is measured and how. The stamp's reader and the browser are those of the tests (tests/browser).
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { watchStamps } from '../tests/browser/stamp.mjs';
import { Stage, freePorts, pause, quantile, until } from '../tests/browser/support.mjs';

/** How often the page is opened anew in a run. */
const JOINS = 5;
const [WIDTH, HEIGHT, RATE] = [640, 480, 30];

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '10' },
    ways: { type: 'string', default: 'test,webrtc,hls' },
    out: { type: 'string' },
    table: { type: 'boolean', default: false },
  },
});

/** Each way from a lens to a screen: what publishes, and by what the page plays. */
const WAYS = {
  test: { title: 'WebRTC, `test` source in the server', publisher: null, play: 'webrtc', servers: ['sightline'] },
  webrtc: { title: 'WebRTC, FFmpeg publishes by RTSP over TCP', publisher: ffmpeg, play: 'webrtc', servers: ['sightline', 'mediamtx'] },
  hls: { title: 'LL-HLS, FFmpeg publishes by RTSP over TCP', publisher: ffmpeg, play: 'hls', servers: ['sightline', 'mediamtx'] },
};

/** Each server: starts it, and says where to publish and where its own page is. */
const SERVERS = { sightline, mediamtx };

async function sightline(stage, way) {
  const server = await stage.server(way.publisher ? ['--open'] : ['--source', 'test', '--open']);
  const port = way.play === 'hls' ? server.ports.hls : server.ports.webrtc;
  return { publish: `rtsp://127.0.0.1:${server.ports.rtsp}/zerolatency`, page: server.url('zerolatency/', port) };
}

async function mediamtx(stage, way) {
  if (!process.env.MEDIAMTX) return null;
  const folder = stage.folder();
  const { rtsp, http, ice } = await freePorts(['rtsp', 'http', 'ice']);
  const on = (play) => (way.play === play ? 'yes' : 'no');
  writeFileSync(
    join(folder, 'm.yml'),
    `logLevel: warn
rtspAddress: :${rtsp}
rtspTransports: [tcp]
rtmp: no
srt: no
moq: no
hls: ${on('hls')}
hlsAddress: :${http}
hlsVariant: lowLatency
hlsSegmentDuration: 1s
hlsPartDuration: 100ms
webrtc: ${on('webrtc')}
webrtcAddress: :${http}
webrtcLocalUDPAddress: :${ice}
paths:
  all_others:
`,
  );
  await stage.process(process.env.MEDIAMTX, [join(folder, 'm.yml')]);
  return { publish: `rtsp://127.0.0.1:${rtsp}/zerolatency`, page: `http://127.0.0.1:${http}/zerolatency/` };
}

/** Pictures with the stamp, made here, encoded and published by FFmpeg as people's scripts do. */
async function ffmpeg(stage, url) {
  const input = `-f rawvideo -pixel_format yuv420p -video_size ${WIDTH}x${HEIGHT} -framerate ${RATE} -fflags nobuffer -probesize 32 -i pipe:0`;
  const encoder = `-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -g ${2 * RATE} -b:v 2M`;
  const child = await stage.process('ffmpeg', ['-loglevel', 'error', ...`${input} ${encoder} -f rtsp -rtsp_transport tcp`.split(' '), url], {}, 'pipe');
  const { stdin } = child.child;
  // It is ended while a picture is on its way.
  stdin.on('error', () => {});
  let [count, next, stopped] = [0, performance.now(), false];
  stage.atEnd(() => (stopped = true));
  const tick = () => {
    if (stopped) return;
    // One that FFmpeg has not taken yet would only be shown late: a camera drops it, too.
    if (stdin.writableLength === 0) stdin.write(picture(count++, BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000))));
    next += 1000 / RATE;
    setTimeout(tick, Math.max(0, next - performance.now()));
  };
  tick();
}

/** A grey picture over which a brighter bar moves, with the stamp of docs/reference/stamp.md. */
function picture(count, micros) {
  const bytes = Buffer.alloc((WIDTH * HEIGHT * 3) / 2, 128);
  for (let row = 0; row < HEIGHT; row++) {
    const left = (count * 6 + row) % (WIDTH - 64);
    bytes.fill(60 + ((row * 7 + count) % 150), row * WIDTH + left, row * WIDTH + left + 64);
  }
  const block = Math.floor(WIDTH / 80) & ~1;
  const [left, top] = [WIDTH - 20 * block, HEIGHT - 7 * block];
  bits(micros).forEach((line, row) =>
    line.forEach((white, column) => {
      for (let y = 0; y < block; y++) {
        const at = (top + row * block + y) * WIDTH + left + column * block;
        bytes.fill(white ? 235 : 16, at, at + block);
      }
    }),
  );
  return bytes;
}

/** The stamp's five rows of eighteen blocks. */
function bits(micros) {
  const words = [32n, 16n, 0n].map((shift) => Number((micros >> shift) & 0xffffn));
  const checksum = words.reduce((crc, word) => {
    for (let bit = 15; bit >= 0; bit--) crc = ((crc << 1) & 0xffff) ^ (((crc >> 15) ^ (word >> bit)) & 1 ? 0x1021 : 0);
    return crc;
  }, 0xffff);
  const rows = [...words, checksum].map((word, index) => {
    const ones = Array.from({ length: 16 }, (_, bit) => ((word >> (15 - bit)) & 1) === 1);
    return [index % 2 === 1, ...ones, index % 2 === 0];
  });
  return [Array.from({ length: 18 }, (_, column) => column % 2 === 0), ...rows];
}

/**
 * In a page of nobody's: plays by WHEP with an offer that does not wait for candidates, and gives the milliseconds from the click to the first picture
 * that is on the screen.
 */
async function click(url) {
  const begun = performance.now();
  const peer = new RTCPeerConnection();
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true });
  document.body.replaceChildren(video);
  const first = new Promise((resolve) => video.requestVideoFrameCallback((now) => resolve(now - begun)));
  peer.ontrack = ({ track }) => (video.srcObject ??= new MediaStream()).addTrack(track);
  peer.addTransceiver('video', { direction: 'recvonly' });
  peer.addTransceiver('audio', { direction: 'recvonly' });
  await peer.setLocalDescription(await peer.createOffer());
  const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: peer.localDescription.sdp });
  if (answer.status !== 201) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  const took = await first;
  peer.close();
  return took;
}

/** Of an address like the servers': browsers keep pages without one, such as about:blank, away from the local network. */
async function emptyPage(stage) {
  const http = createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<!doctype html><body>'));
  await once(http.listen(0, '127.0.0.1'), 'listening');
  stage.atEnd(() => http.close());
  return `http://127.0.0.1:${http.address().port}/`;
}

/** After the click, and after opening the server's own page, several times. */
async function joins(stage, server, way) {
  const [clicks, pages] = [[], []];
  const page = await stage.page();
  await page.goto(await emptyPage(stage));
  // Not the first time, in which the browser starts processes and loads its codecs.
  for (let join = 0; way.play === 'webrtc' && join <= JOINS; join++) {
    const took = await page.evaluate(click, `${server.page}whep`);
    if (join > 0) clicks.push(took);
    // At no particular moment between two keyframes.
    await pause(370 * (join + 1));
  }
  await page.close();
  const own = await stage.page();
  await own.addInitScript(watchStamps);
  // Our page takes WebRTC wherever it can.
  if (way.play === 'hls') await own.route(/\/whep$/, (route) => route.fulfill({ status: 503, body: 'not now' }));
  await own.goto(server.page);
  for (let join = 0; join < JOINS; join++) {
    await own.reload();
    await until('a picture with a stamp', () => own.evaluate(() => window.stamps.readings.length > 0));
    pages.push(await own.evaluate(() => window.stamps.firstMs));
    await pause(370 * (join + 1));
  }
  return { own, clicks, pages };
}

/** One run of one server: ages of the pictures on the screen, and when the first was there. */
async function run(name, way) {
  const stage = new Stage();
  try {
    const server = await SERVERS[name](stage, way);
    if (server === null) return null;
    await until('the server answers', () => fetch(server.page).then(() => true, () => false));
    if (way.publisher) await way.publisher(stage, server.publish);
    await pause(3_000);
    const { own: page, clicks, pages } = await joins(stage, server, way);
    await pause(5_000);
    const before = await page.evaluate(() => window.stamps.frames);
    await pause(Number(options.seconds) * 1000);
    const { readings, frames } = await page.evaluate(() => window.stamps);
    const age = (key) => readings.map((reading) => reading[key] - reading.stampMs);
    const [callback, display] = [age('callbackMs'), age('displayMs')];
    // Which a browser knows of WebRTC alone.
    const arrival = readings.filter((reading) => reading.receiveMs !== null).map((reading) => reading.receiveMs - reading.stampMs);
    return {
      click_p50_ms: clicks.length > 0 ? quantile(clicks, 0.5) : null,
      click_p95_ms: clicks.length > 0 ? quantile(clicks, 0.95) : null,
      page_p50_ms: quantile(pages, 0.5),
      page_p95_ms: quantile(pages, 0.95),
      arrival_p50_ms: arrival.length > 0 ? quantile(arrival, 0.5) : null,
      arrival_p95_ms: arrival.length > 0 ? quantile(arrival, 0.95) : null,
      callback_p50_ms: quantile(callback, 0.5),
      callback_p95_ms: quantile(callback, 0.95),
      display_p50_ms: quantile(display, 0.5),
      display_p95_ms: quantile(display, 0.95),
      pictures_per_second: (frames - before) / Number(options.seconds),
    };
  } finally {
    await stage.end();
  }
}

const word = (program, ...args) => spawnSync(program, args, { encoding: 'utf8' }).stdout?.trim().split('\n')[0] ?? '';
const result = {
  at: new Date().toISOString().slice(0, 10),
  commit: word('git', 'rev-parse', '--short', 'HEAD'),
  processor: cpus()[0].model,
  chromium: word(process.env.CHROMIUM ?? '/usr/bin/chromium', '--version'),
  runs: Number(options.runs),
  ways: {},
};
const lines = [`${result.processor}; commit ${result.commit}; ${result.chromium}; ${result.runs} runs, each figure of all of them.`, ''];
for (const key of options.ways.split(',')) {
  const way = WAYS[key];
  const runs = Object.fromEntries(way.servers.map((name) => [name, []]));
  for (let turn = 0; turn < result.runs; turn++) {
    for (const name of way.servers) {
      const figures = await run(name, way);
      console.error(`${key} ${turn + 1}/${result.runs} ${name}: ${JSON.stringify(figures)}`);
      if (figures) runs[name].push(figures);
    }
  }
  result.ways[key] = runs;
  lines.push(
    `**${way.title}**`,
    '',
    '| server | arrived p50 / p95 ms | by callback p50 / p95 ms | by `expectedDisplayTime` p50 / p95 ms | first picture after a click p50 / max ms | of the own page p50 / max ms | pictures/s |',
    '|---|---|---|---|---|---|---|',
  );
  for (const [name, figures] of Object.entries(runs).filter(([, figures]) => figures.length > 0)) {
    const pair = (one, digits = 1) => {
      const figure = (run, quantile) => run[`${one}_${quantile}_ms`]?.toFixed(digits) ?? '-';
      return figures.map((run) => `${figure(run, 'p50')} / ${figure(run, 'p95')}`).join(', ');
    };
    const rate = figures.map((run) => run.pictures_per_second.toFixed(1)).join(', ');
    lines.push(`| ${name} | ${pair('arrival')} | ${pair('callback')} | ${pair('display')} | ${pair('click', 0)} | ${pair('page', 0)} | ${rate} |`);
  }
  lines.push('');
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(result, null, 1)}\n`);
console.log(lines.join('\n'));
if (options.table) {
  const readme = new URL('README.md', import.meta.url);
  const [begin, end] = ['<!-- glass -->\n', '<!-- end of glass -->'];
  const [before, rest] = readFileSync(readme, 'utf8').split(begin);
  writeFileSync(readme, `${before}${begin}${lines.join('\n')}${end}${rest.split(end)[1]}`);
}
