/**
 * What a browser shows at the end of poor ways: Chromium plays a stream of about 2 Mb/s by WHEP through a path in user space (tests/clients/link.py)
 * between two network namespaces. Started by bench/links.
 *
 *   node links.mjs [--seconds 20] [--cases clean,loss2,…] [--low] [--pushed] [--note WORDS] [--out FILE.json]
 *
 * Belongs here: the ways, what is measured on them and how. The stamp's reader and the browser are those of the tests (tests/browser).
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { watchStamps } from '../tests/browser/stamp.mjs';
import { Stage, pause, quantile, until } from '../tests/browser/support.mjs';
import { Way } from '../tests/browser/way.mjs';

/** A picture that stands for longer than this is a freeze; at 30 a second they are 33 ms apart. */
const FREEZE_MS = 200;
/** How often it is asked how old the picture is that is on the screen. */
const SAMPLE_MS = 20;
/** After the first picture, and before anything is measured: what a stream does at its beginning is another matter. */
const SETTLE_MS = 4_000;

/**
 * Each way: `quality` as link.py has it, both ways; `then` after `thenAfter` of the time. 64 KiB wait in front of the narrow place, half a second at
 * 1 Mb/s, and then packets are lost.
 */
const CASES = {
  clean: { title: 'clean, 50 ms', quality: { delay_ms: 25 } },
  jitter: { title: 'a tenth of the packets 15 ms late, 50 ms', quality: { delay_ms: 25, reorder: 0.1, reorder_by_ms: 15 } },
  ...Object.fromEntries(
    [2, 5, 10].flatMap((percent) =>
      [50, 150].map((roundTrip) => [
        `loss${percent}-${roundTrip}`,
        { title: `${percent} % lost, ${roundTrip} ms`, quality: { loss: percent / 100, delay_ms: roundTrip / 2 } },
      ]),
    ),
  ),
  ...Object.fromEntries(
    [50, 150].map((roundTrip) => [
      `narrow-${roundTrip}`,
      { title: `1 Mb/s, ${roundTrip} ms`, quality: { rate_kbps: 1_000, delay_ms: roundTrip / 2 } },
    ]),
  ),
  step: {
    title: '1 Mb/s for a third of the time, then free, 50 ms',
    quality: { rate_kbps: 1_000, delay_ms: 25 },
    then: { delay_ms: 25 },
    thenAfter: 1 / 3,
  },
};

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    cases: { type: 'string', default: Object.keys(CASES).join() },
    low: { type: 'boolean', default: false },
    pushed: { type: 'boolean', default: false },
    note: { type: 'string' },
    out: { type: 'string' },
  },
});

/** Nobody else plays. */
const TOKEN = 'links';
/** A test picture that fills 2 Mb/s, with keyframes two seconds apart as IP cameras have them. */
const CAMERA = `[camera.zerolatency]
source = "test"
size = "640x480"
fps = 30
bitrate = "2M"
gop = 60
`;

/** With --pushed: the same picture, published from elsewhere by RTSP, whose encoder nobody can tell anything. */
const PUSHED = ['--source', 'test', '--size', '640x480', '--fps', '30', '--bitrate', '2M', '--gop', '60'];

/** With --low: the stream has a lower rendition. */
const LOW = `[camera."zerolatency/low"]
source = "test"
size = "320x240"
fps = 30
bitrate = "300k"
gop = 60
`;

/** In a page with nothing on it: plays by WHEP. */
async function play(url) {
  const peer = new RTCPeerConnection();
  window.peer = peer;
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true });
  document.body.replaceChildren(video);
  peer.ontrack = ({ track }) => (video.srcObject ??= new MediaStream()).addTrack(track);
  peer.addTransceiver('video', { direction: 'recvonly' });
  peer.addTransceiver('audio', { direction: 'recvonly' });
  await peer.setLocalDescription(await peer.createOffer());
  const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: peer.localDescription.sdp });
  if (answer.status !== 201) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
}

/** What the browser counted. */
async function counts() {
  const seen = {};
  (await window.peer.getStats()).forEach((entry) => {
    if (entry.type !== 'inbound-rtp' || entry.kind !== 'video') return;
    Object.assign(seen, { pli: entry.pliCount, nack: entry.nackCount, lost: entry.packetsLost, height: entry.frameHeight });
  });
  return { ...seen, frames: window.stamps.frames, readings: window.stamps.readings.splice(0) };
}

/** Of what was shown between two times: stills, ages of pictures when they came, and of the one on the screen at any time. */
function judge(readings, from, to) {
  const shown = readings.filter(({ callbackMs }) => callbackMs >= from && callbackMs <= to);
  const times = [from, ...shown.map(({ callbackMs }) => callbackMs), to];
  const freezes = times.slice(1).map((time, index) => time - times[index]).filter((gap) => gap > FREEZE_MS);
  const ages = [];
  let [newest, next] = [null, 0];
  for (let time = from; time < to; time += SAMPLE_MS) {
    while (next < readings.length && readings[next].callbackMs <= time) newest = readings[next++];
    if (newest) ages.push(time - newest.stampMs);
  }
  const latency = shown.map(({ callbackMs, stampMs }) => callbackMs - stampMs);
  return {
    pictures_per_second: (shown.length * 1_000) / (to - from),
    freezes: freezes.length,
    longest_freeze_ms: Math.max(0, ...freezes),
    frozen_ms: freezes.reduce((sum, gap) => sum + gap, 0),
    latency_p50_ms: latency.length > 0 ? quantile(latency, 0.5) : null,
    latency_p95_ms: latency.length > 0 ? quantile(latency, 0.95) : null,
    age_p50_ms: ages.length > 0 ? quantile(ages, 0.5) : null,
    age_p95_ms: ages.length > 0 ? quantile(ages, 0.95) : null,
  };
}

const wall = () => performance.timeOrigin + performance.now();

async function run(name) {
  const { quality, then, thenAfter = 1 } = CASES[name];
  const stage = new Stage();
  try {
    const config = join(stage.folder(), 'sightline.toml');
    writeFileSync(config, (options.pushed ? '' : CAMERA) + (options.low ? LOW : ''));
    const server = await stage.serverBehindACable(['--config', config, '--token', TOKEN]);
    if (options.pushed) await stage.publisher(server, 'zerolatency', [...PUSHED, '--token', TOKEN]);
    const way = await Way.make(stage, server);
    await stage.browseFrom(way.viewer);
    const page = await stage.page();
    const address = `http://${way.host}:${server.ports.webrtc}`;
    await page.addInitScript(watchStamps);
    await way.set(then ?? quality);
    // A page of the server's, since browsers keep others away from the local network, with nothing on it that plays.
    await page.goto(`${address}/nobody?token=${TOKEN}`);
    await page.evaluate(play, `${address}/zerolatency/whep?token=${TOKEN}`);
    await until('a picture', () => page.evaluate(() => window.stamps.frames > 0));
    await pause(SETTLE_MS);
    const before = await page.evaluate(counts);
    await way.set(quality);
    const [bytes, from] = [way.bytes(), wall()];
    const [readings, states] = [before.readings, []];
    const last = from + Number(options.seconds) * 1_000;
    let [after, changed] = [before, !then];
    while (wall() < last) {
      await pause(1_000);
      if (!changed && wall() > from + Number(options.seconds) * 1_000 * thenAfter) {
        changed = true;
        await way.set(then);
      }
      after = await page.evaluate(counts);
      readings.push(...after.readings);
      const headers = { Authorization: `Bearer ${TOKEN}` };
      const viewers = await fetch(`http://${server.host}:${server.ports.http}/api/v1/viewers`, { headers }).then((answer) => answer.json());
      const { rendition, estimate_kbps: estimate } = viewers.sessions[0] ?? {};
      states.push(`${rendition} ${estimate}`);
    }
    const to = wall();
    const sent = ((way.bytes() - bytes) * 8) / (to - from);
    const path = await way.set({});
    return {
      ...judge(readings, from, to),
      sent_kbps: sent,
      pli: after.pli - before.pli,
      nack: after.nack - before.nack,
      lost_on_the_way: path.lost + path.overflowed,
      states,
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
  note: options.note ?? null,
  low: options.low,
  pushed: options.pushed,
  seconds: Number(options.seconds),
  cases: {},
};
const lines = [
  '| way, round trip | pictures/s | freezes, longest, together | latency p50 / p95 ms | on the screen p50 / p95 ms | kb/s sent | PLI, NACK |',
  '|---|---|---|---|---|---|---|',
];
for (const name of options.cases.split(',')) {
  const figures = await run(name);
  result.cases[name] = figures;
  console.error(`${name}: ${JSON.stringify(figures)}`);
  const whole = (value) => (value === null ? '-' : value.toFixed(0));
  const seconds = (value) => `${(value / 1_000).toFixed(1)} s`;
  lines.push(
    `| ${CASES[name].title} | ${figures.pictures_per_second.toFixed(1)} | ${figures.freezes}, ${whole(figures.longest_freeze_ms)} ms, ${seconds(figures.frozen_ms)} ` +
      `| ${whole(figures.latency_p50_ms)} / ${whole(figures.latency_p95_ms)} | ${whole(figures.age_p50_ms)} / ${whole(figures.age_p95_ms)} ` +
      `| ${whole(figures.sent_kbps)} | ${figures.pli}, ${figures.nack} |`,
  );
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(result, null, 1)}\n`);
console.log(lines.join('\n'));
