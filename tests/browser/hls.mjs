/** LL-HLS by hls.js alone, as people's own pages have it: how near to the live edge it plays, and whether it ever stands still. */
import { check, pause, until } from './support.mjs';
import { watchStamps } from './stamp.mjs';

const LIBRARY = new URL('./node_modules/hls.js/dist/hls.min.js', import.meta.url).pathname;
/** As its documentation says for low latency; nothing of ours. */
const SETTINGS = { lowLatencyMode: true, enableWorker: true };

/** A page with a video element and hls.js, of no site at all. Leaves `window.seen`. */
async function player(stage, url) {
  const page = await stage.page();
  await page.setContent('<video id="video-stream" muted playsinline></video>');
  await page.addScriptTag({ path: LIBRARY });
  await page.evaluate(watchStamps);
  await page.evaluate(
    ([source, settings]) => {
      const video = document.getElementById('video-stream');
      const hls = new Hls(settings);
      const seen = { began: performance.now(), firstPictureMs: null, stalls: [], errors: [], latencies: [] };
      Object.assign(window, { hls, seen });
      hls.on(Hls.Events.ERROR, (_, error) => seen.errors.push(`${error.fatal ? 'fatal ' : ''}${error.details} ${error.error?.message ?? ''}`));
      // hls.js begins to play with the first part, before it has the second: what it waits for then belongs to the start.
      video.addEventListener('waiting', () => {
        const now = performance.now() - seen.began;
        if (seen.firstPictureMs !== null && now > seen.firstPictureMs + 1_000) seen.stalls.push(Math.round(now));
      });
      video.requestVideoFrameCallback(() => (seen.firstPictureMs = performance.now() - seen.began));
      setInterval(() => seen.firstPictureMs !== null && seen.latencies.push(hls.latency), 100);
      hls.loadSource(source);
      hls.attachMedia(video);
      video.play();
    },
    [url, SETTINGS],
  );
  await until('the first picture', () => page.evaluate(() => window.seen.firstPictureMs));
  return page;
}

function quantile(values, part) {
  return [...values].sort((one, two) => one - two)[Math.floor(values.length * part)];
}

/** Seconds that it plays; the long tests ask for more. */
const SECONDS = Number(process.env.HLS_SECONDS ?? 15);

export async function plays_near_the_edge_without_standing_still(stage) {
  const server = await stage.server();
  const page = await player(stage, server.url('zerolatency/index.m3u8', server.ports.hls));
  await pause(SECONDS * 1_000);
  const { seen, stamps, edge } = await page.evaluate(() => {
    const details = window.hls.latestLevelDetails;
    return { seen: window.seen, stamps: window.stamps, edge: { target: details.partTarget, holdBack: details.partHoldBack } };
  });
  const glassMs = stamps.readings.map(({ stampMs, displayMs }) => displayMs - stampMs);
  const late = seen.latencies.slice(20);
  console.log(
    JSON.stringify({
      first_picture_ms: Math.round(seen.firstPictureMs),
      glass_to_glass_ms: { p50: Math.round(quantile(glassMs, 0.5)), p95: Math.round(quantile(glassMs, 0.95)) },
      distance_to_edge_s: { p50: quantile(late, 0.5), p95: quantile(late, 0.95) },
      ...edge,
      frames: stamps.frames,
      stalls: seen.stalls,
      errors: seen.errors,
    }),
  );
  check(seen.stalls.length === 0, `it stood still: ${seen.stalls}`);
  check(seen.errors.length === 0, seen.errors.join('; '));
  check(stamps.frames > 20 * SECONDS, `${stamps.frames} pictures`);
  // What the list asks players to keep, and two parts. What it falls behind until the first picture it keeps by itself.
  const most = edge.holdBack + 2 * edge.target + seen.firstPictureMs / 1_000;
  check(quantile(late, 0.95) < most, `${quantile(late, 0.95)} s from the edge, more than ${most}`);
}

/** The publisher is gone for a while and returns: the page that plays is not touched. */
export async function goes_on_when_the_publisher_returns(stage) {
  const server = await stage.server(['--open']);
  let publisher = await stage.publisher(server);
  const url = server.url('zerolatency/index.m3u8', server.ports.hls);
  await until('it is published', async () => (await fetch(url)).ok);
  const page = await player(stage, url);
  await pause(2_000);
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
  check(!errors.some((error) => error.startsWith('fatal')), errors.join('; '));
  // By itself hls.js stays behind by what the publisher was away; that is for the page to know.
  const ageMs = await page.evaluate(() => performance.timeOrigin + performance.now() - window.stamps.readings.at(-1).stampMs);
  check(ageMs < 6_000, `the picture is ${ageMs} ms old`);
}
