/** LL-HLS by hls.js alone, as people's own pages have it: how near to the live edge it plays, and whether it ever stands still. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, pause, until, watchMachine } from './support.mjs';
import { watchStamps } from './stamp.mjs';
import { Way } from './way.mjs';

const LIBRARY = new URL('./node_modules/hls.js/dist/hls.min.js', import.meta.url).pathname;
/** As its documentation says for low latency; nothing of ours. */
const SETTINGS = { lowLatencyMode: true, enableWorker: true };
/** hls.js begins to play with the first part, before it has the second: what it waits and complains for until then belongs to the start. */
const START_MS = 1_000;

/** A page with a video element and hls.js, of no site at all, or of one that browsers let into its network. Leaves `window.seen`. */
async function player(stage, url, site, more = {}) {
  const page = await stage.page({ bypassCSP: true });
  if (site) await page.goto(site);
  await page.setContent('<video id="video-stream" muted playsinline></video>');
  await page.addScriptTag({ path: LIBRARY });
  await page.evaluate(watchStamps);
  await page.evaluate(
    ([source, settings, startMs]) => {
      const video = document.getElementById('video-stream');
      const hls = new Hls(settings);
      const seen = { began: performance.now(), firstPictureMs: null, played: [], stalls: [], errors: [], latencies: [], behind: [] };
      Object.assign(window, { hls, seen });
      const now = () => performance.now() - seen.began;
      const starts = () => seen.firstPictureMs === null || now() < seen.firstPictureMs + startMs;
      hls.on(Hls.Events.ERROR, (_, error) => {
        if (!error.fatal && starts()) return;
        seen.errors.push({ at: Date.now(), text: `${error.fatal ? 'fatal ' : ''}${error.details} ${error.error?.message ?? ''}` });
      });
      // Pictures that a camera on a busy machine did not make leave a hole, which hls.js stands before and leaps. A part that was not fetched is another matter.
      const isBeforeHole = () => {
        const ranges = [...Array(video.buffered.length).keys()].map((index) => [video.buffered.start(index), video.buffered.end(index)]);
        const behind = ranges.findIndex(([begin]) => begin > video.currentTime && begin < video.currentTime + 0.5);
        if (behind < 1) return false;
        const [from, to] = [ranges[behind - 1][1], ranges[behind][0]];
        return !(hls.latestLevelDetails?.partList ?? []).some((part) => !part.loaded && part.start < to && part.end > from);
      };
      video.addEventListener('waiting', () => {
        if (!starts()) seen.stalls.push({ at: Date.now(), playedMs: Math.round(now()), isBeforeHole: isBeforeHole() });
      });
      video.requestVideoFrameCallback(() => (seen.firstPictureMs = now()));
      setInterval(() => {
        if (seen.firstPictureMs === null) return;
        seen[starts() ? 'played' : 'latencies'].push(starts() ? video.currentTime : hls.latency);
        if (!starts()) seen.behind.push(now() / 1_000 - video.currentTime);
      }, 100);
      hls.loadSource(source);
      hls.attachMedia(video);
      video.play();
    },
    [url, { ...SETTINGS, ...more }, START_MS],
  );
  await until('the first picture', () => page.evaluate(() => window.seen.firstPictureMs));
  return page;
}

const texts = (errors) => errors.map(({ text }) => text).join('; ');

function quantile(values, part) {
  return [...values].sort((one, two) => one - two)[Math.floor(values.length * part)];
}

/** Seconds that it plays; the long tests ask for more. */
const SECONDS = Number(process.env.HLS_SECONDS ?? 15);

export async function plays_near_the_edge_without_standing_still(stage) {
  const server = await stage.server();
  const at = (file) => server.url(`zerolatency/${file}`, server.ports.hls);
  // A camera that has only just begun is another matter: its encoder, the server and the browser then start at the same time.
  await until('two segments are listed', async () => (await (await fetch(at('stream.m3u8'))).text()).split('#EXTINF').length > 2);
  const page = await player(stage, at('index.m3u8'));
  const machine = await watchMachine(stage);
  await pause(SECONDS * 1_000);
  const { seen, stamps, edge } = await page.evaluate(() => {
    const details = window.hls.latestLevelDetails;
    const { partTarget: target, partHoldBack: holdBack } = details;
    return { seen: window.seen, stamps: window.stamps, edge: { target, holdBack } };
  });
  const glassMs = stamps.readings.map(({ stampMs, displayMs }) => displayMs - stampMs);
  const stoodS = Math.max(0, START_MS / 1_000 - ((seen.played.at(-1) ?? 0) - (seen.played[0] ?? 0)));
  // What it stood for later on, it falls behind as well.
  const stoodLaterS = Math.max(0, Math.max(...seen.behind) - seen.behind[0]);
  const pauses = await machine.pauses();
  const isOfTheMachine = ({ at }) => pauses.some((pause) => Math.abs(pause.at - at) < 1_000);
  const stalls = seen.stalls.filter((stall) => !stall.isBeforeHole && !isOfTheMachine(stall));
  console.log(
    JSON.stringify({
      first_picture_ms: Math.round(seen.firstPictureMs),
      glass_to_glass_ms: { p50: Math.round(quantile(glassMs, 0.5)), p95: Math.round(quantile(glassMs, 0.95)) },
      stood_s: { at_the_start: stoodS, later: stoodLaterS },
      distance_to_edge_s: { p50: quantile(seen.latencies, 0.5), p95: quantile(seen.latencies, 0.95) },
      ...edge,
      frames: stamps.frames,
      pauses,
      stalls: seen.stalls,
      errors: seen.errors,
    }),
  );
  check(stalls.length === 0, `it stood still: ${JSON.stringify(stalls)}`);
  const excused = seen.stalls.length > 0;
  // It complains of each still, and keeps a second more from then on.
  const isOfAStill = ({ text }) => /^buffer(StalledError|SeekOverHole) /.test(text);
  const errors = seen.errors.filter((error) => !(isOfAStill(error) && (excused || isOfTheMachine(error))));
  check(errors.length === 0, texts(errors));
  const pausedS = pauses.reduce((sum, { ms }) => sum + ms / 1_000, 0);
  check(stamps.frames > 20 * (SECONDS - pausedS), `${stamps.frames} pictures`);
  // What the list asks players to keep, and two parts. What it falls behind until it plays it keeps by itself.
  const most = edge.holdBack + 2 * edge.target + seen.firstPictureMs / 1_000 + stoodS + (excused ? 1 + stoodLaterS : 0);
  check(quantile(seen.latencies, 0.95) < most, `${quantile(seen.latencies, 0.95)} s from the edge, more than ${most}`);
}

/** The publisher is gone for a while and returns: the page that plays is not touched. */
export async function goes_on_when_the_publisher_returns(stage) {
  const server = await stage.server(['--open']);
  let publisher = await stage.publisher(server);
  const url = server.url('zerolatency/index.m3u8', server.ports.hls);
  await until('it is published', async () => (await fetch(url)).ok);
  const page = await player(stage, url);
  await pause(2_000);
  const age = () => performance.timeOrigin + performance.now() - window.stamps.readings.at(-1).stampMs;
  const ageBeforeMs = await page.evaluate(age);
  await publisher.kill();
  await pause(2_000);
  const before = await page.evaluate(() => window.stamps.readings.at(-1).stampMs);
  publisher = await stage.publisher(server);
  const again = (last) => window.stamps.readings.at(-1)?.stampMs > last + 1_500;
  await until('pictures come again', () => page.evaluate(again, before)).catch(async (error) => {
    const state = await page.evaluate(() => {
      const video = document.getElementById('video-stream');
      const buffered = [...Array(video.buffered.length).keys()].map((index) => [video.buffered.start(index), video.buffered.end(index)]);
      const edge = window.hls.latestLevelDetails?.edge;
      return JSON.stringify({ buffered, at: video.currentTime, paused: video.paused, ready: video.readyState, edge, seen: window.seen.errors });
    });
    throw new Error(`${error.message}: ${state}`);
  });
  await pause(3_000);
  const errors = await page.evaluate(() => window.seen.errors);
  check(!errors.some(({ text }) => text.startsWith('fatal')), texts(errors));
  // By itself hls.js stays behind by what the publisher was away, however long that takes to start; that is for the page to know.
  const awayMs = await page.evaluate(() => {
    const taken = window.stamps.readings.map(({ stampMs }) => stampMs);
    return Math.max(...taken.slice(1).map((time, index) => time - taken[index]));
  });
  const ageMs = await page.evaluate(age);
  console.log(JSON.stringify({ ageBeforeMs, awayMs, ageMs }));
  check(ageMs < ageBeforeMs + awayMs + 2_500, `the picture is ${ageMs} ms old; it was ${ageBeforeMs}, and none was made for ${awayMs} ms`);
}

/** A stream of 2 Mb/s and its lower one, as a camera of ours has them. */
const VARIANTS = `[camera.zerolatency]
source = "test"
size = "640x480"
fps = 30
bitrate = "2M"
gop = 30
low = true
`;

/** What the narrow way carries: the lower stream twice, the other not. */
const NARROW = { delay_ms: 10, rate_kbps: 1_000 };
const WIDE = { delay_ms: 10 };

/** A server that lists both, and the way to it. */
async function variants(stage) {
  const config = join(stage.folder(), 'sightline.toml');
  writeFileSync(config, VARIANTS);
  const server = await stage.serverBehindACable(['--config', config, '--open']);
  const way = await Way.make(stage, server);
  await stage.browseFrom(way.viewer);
  await way.set(WIDE);
  // The lower one is made from the first time on that somebody asks, and listed when it is there.
  const list = server.url('zerolatency/index.m3u8', server.ports.hls);
  await until('both are listed', async () => (await (await fetch(list)).text()).includes('low/stream.m3u8'));
  return { server, way };
}

/** Notes when each picture is shown, whichever element shows it, in `window.shown`. */
function watchPictures() {
  window.shown = [performance.now()];
  let watched = null;
  const each = (video) => (now) => {
    if (video !== watched) return;
    window.shown.push(now);
    video.requestVideoFrameCallback(each(video));
  };
  setInterval(() => {
    const video = document.getElementById('video-stream');
    if (!video || video === watched) return;
    watched = video;
    video.requestVideoFrameCallback(each(video));
  }, 20);
}

/**
 * Waits until pictures have this height, and says for how long, how long one stood in the meantime, and what the machine kept of that still. Where the machine gives its time to others, pictures stand
 * as they do on a narrow way, and the wait begins anew.
 */
async function becomes(page, machine, height, withinMs) {
  const [begun, begunAt] = [performance.now(), Date.now()];
  while (!(await page.evaluate((wanted) => document.getElementById('video-stream').videoHeight === wanted, height))) {
    const pausedAt = Math.max(begunAt, ...(await machine.pauses()).map(({ at }) => at));
    check(Date.now() - pausedAt < withinMs && performance.now() - begun < 4 * withinMs, `not ${height} lines after ${withinMs} ms`);
    await pause(100);
  }
  return { waitedMs: Math.round(performance.now() - begun), ...(await longestStill(page, machine)) };
}

/** The longest still since the last time. */
const stills = async (page) => Math.round(Math.max(...(await pictures(page)).map(({ from, to }) => to - from)));

/** How long each picture stood since the last time, by the clock of the machine, milliseconds. */
const pictures = (page) =>
  page.evaluate(() => {
    const times = [...window.shown, performance.now()];
    window.shown = window.shown.slice(-1);
    return times.slice(1).map((to, index) => ({ from: performance.timeOrigin + times[index], to: performance.timeOrigin + to }));
  });

/** The still since the last time that is the longest without what the machine kept of it. */
async function longestStill(page, machine) {
  const shown = await pictures(page);
  const pauses = (await machine.pauses()).map(({ at, ms }) => ({ from: at - ms, to: at }));
  const all = shown.map((still) => ({ stillMs: Math.round(still.to - still.from), keptMs: Math.round(together(still, pauses)) }));
  return all.reduce((longest, still) => (still.stillMs - still.keptMs > longest.stillMs - longest.keptMs ? still : longest));
}

/** How much of a time these cover, which may lie upon each other. */
function together({ from, to }, times) {
  const inOrder = [...times].sort((one, other) => one.from - other.from);
  let [covered, reached] = [0, from];
  for (const time of inOrder) {
    const [begin, end] = [Math.max(time.from, reached), Math.min(time.to, to)];
    if (end > begin) covered += end - begin;
    reached = Math.max(reached, end);
  }
  return covered;
}

/**
 * hls.js alone, whose settings are those of people's own pages. It goes down when it has forgotten what it measured before, half of it in three seconds of
 * loading, and has the pictures from where it stood: what it plays then is in both lists. (It does not go up again by parts so small: the page does.)
 */
export async function changes_down_where_the_way_narrows(stage) {
  const { server, way } = await variants(stage);
  const address = `http://${way.host}:${server.ports.hls}`;
  // From the lower one, with which it begins where the machine is slow at that moment, it would not come up.
  const page = await player(stage, `${address}/zerolatency/index.m3u8`, `${address}/nobody`, { startLevel: 1 });
  const machine = await watchMachine(stage);
  await page.evaluate(watchPictures);
  const first = await becomes(page, machine, 480, 10_000);
  await pause(3_000);
  await stills(page);
  await way.set(NARROW);
  // When it goes down is for hls.js to say, which here forgets 4 Mb/s in 18 to 21 s: the quicker the server answered before, the later.
  const down = await becomes(page, machine, 240, 60_000);
  await pause(2_000);
  await stills(page);
  const before = await page.evaluate(() => window.stamps.frames);
  await pause(6_000);
  const [low, frames] = [await stills(page), (await page.evaluate(() => window.stamps.frames)) - before];
  console.log(JSON.stringify({ first, down, low, frames }));
  check(down.stillMs - down.keptMs < 8_000, `a picture stood for ${down.stillMs} ms on the way down`);
  check(low < 3_000 && frames > 60, `${frames} pictures in six seconds, one stood for ${low} ms`);
  const errors = await page.evaluate(() => window.seen.errors);
  check(!errors.some(({ text }) => text.startsWith('fatal')), texts(errors));
}

/** The page, which goes down when the picture stands still again and again, and up on trial. */
export async function the_page_changes_down_and_up_with_the_way(stage) {
  const { server, way } = await variants(stage);
  const page = await stage.page();
  await page.route(/\/whep$/, (route) => route.abort());
  await page.goto(`http://${way.host}:${server.ports.webrtc}/zerolatency/`);
  await until('a picture', () => page.evaluate(() => document.getElementById('video-stream')?.videoHeight > 0));
  const machine = await watchMachine(stage);
  await page.evaluate(watchPictures);
  const first = await becomes(page, machine, 480, 30_000);
  await pause(3_000);
  // On a busy machine it may have gone down meanwhile, and will be up again.
  await becomes(page, machine, 480, 30_000);
  await way.set(NARROW);
  const down = await becomes(page, machine, 240, 15_000);
  await way.set(WIDE);
  const up = await becomes(page, machine, 480, 30_000);
  await pause(5_000);
  const stays = await longestStill(page, machine);
  console.log(JSON.stringify({ first, down, up, stays }));
  for (const [when, { stillMs, keptMs }, mostMs] of [
    ['on the way down', down, 3_000],
    ['on the way up', up, 3_000],
    ['above', stays, 1_500],
  ]) {
    check(stillMs - keptMs < mostMs, `a picture stood for ${stillMs} ms ${when}, of which the machine kept ${keptMs}`);
  }
}
