/** What was recorded, played in a browser by hls.js alone, as people's own pages have it. */
import { check, pause, until } from './support.mjs';
import { watchStamps } from './stamp.mjs';

const LIBRARY = new URL('./node_modules/hls.js/dist/hls.min.js', import.meta.url).pathname;
/** How long each run of the recording is at least, and how long nothing is published between them. */
const [RUN_MS, GAP_MS] = [5_000, 3_000];
/** The picture that is shown, and what is said of its time, are read one after the other: some pictures of 33 ms. */
const NEAR_MS = 150;

/** Two runs of `zerolatency` with nothing between them: when the first begins and the second ends, and each. */
async function record(stage, server) {
  const api = server.url('api/v1/recordings', server.ports.http);
  const runs = async () => (await (await fetch(`${api}?camera=zerolatency`)).json()).recordings ?? [];
  for (const count of [1, 2]) {
    const publisher = await stage.publisher(server);
    await until(`run ${count} is long enough`, async () => (await runs())[count - 1]?.duration_ms >= RUN_MS);
    await publisher.kill();
    await pause(GAP_MS);
  }
  // What may still go on is not over.
  const listed = async () => (await fetch(`${api}/zerolatency/index.m3u8?start=${(await runs())[0].start}&end=${new Date().toISOString()}`)).text();
  await until('the second run is over', async () => (await listed()).includes('#EXT-X-ENDLIST'));
  const found = await runs();
  check(found.length === 2, JSON.stringify(found));
  const [first, second] = found.map(({ start, duration_ms }) => ({ start: Date.parse(start), end: Date.parse(start) + duration_ms }));
  check(second.start - first.end >= GAP_MS - 500, JSON.stringify(found));
  const iso = (ms) => new Date(ms).toISOString();
  return { first, second, url: `${api}/zerolatency/index.m3u8?start=${iso(first.start - 1_000)}&end=${iso(second.end + 1_000)}` };
}

/** One list across the gap: played from its beginning to its end without a still, each picture at the time that is said of it, and sought both ways. */
export async function a_gap_is_leapt(stage) {
  const server = await stage.server(['--open'], { SIGHTLINE_RECORD_ENABLED: 'true', SIGHTLINE_RECORD_SEGMENT: '2s' });
  const { first, second, url } = await record(stage, server);
  const list = await (await fetch(url)).text();
  check(list.includes('#EXT-X-DISCONTINUITY\n') && list.includes('#EXT-X-ENDLIST'), list);

  const page = await stage.page({ bypassCSP: true });
  await page.goto(server.url('', server.ports.http));
  await page.setContent('<video id="video-stream" muted playsinline></video>');
  await page.addScriptTag({ path: LIBRARY });
  await page.evaluate(watchStamps);
  await page.evaluate((source) => {
    const video = document.getElementById('video-stream');
    const hls = new Hls({ enableWorker: true });
    const seen = { errors: [], waits: [], times: [] };
    Object.assign(window, { hls, seen });
    hls.on(Hls.Events.ERROR, (_, error) => seen.errors.push(`${error.fatal ? 'fatal ' : ''}${error.details} ${error.error?.message ?? ''}`));
    video.addEventListener('waiting', () => seen.waits.push(video.currentTime));
    const each = () => {
      const stampMs = window.stamps.readings.at(-1)?.stampMs;
      if (stampMs && hls.playingDate) seen.times.push({ stampMs, saidMs: hls.playingDate.getTime() });
      video.requestVideoFrameCallback(each);
    };
    video.requestVideoFrameCallback(each);
    hls.loadSource(source);
    hls.attachMedia(video);
    video.play();
  }, url);
  const ends = () => page.evaluate(() => document.getElementById('video-stream').ended);
  await until('it is played to its end', ends).catch(async (error) => {
    const state = await page.evaluate(() => {
      const video = document.getElementById('video-stream');
      const buffered = [...Array(video.buffered.length).keys()].map((index) => [video.buffered.start(index), video.buffered.end(index)]);
      return JSON.stringify({ buffered, at: video.currentTime, ready: video.readyState, seen: window.seen });
    });
    throw new Error(`${error.message}: ${state}\n${list}`);
  });

  const { seen, frames, playedS } = await page.evaluate(() => {
    const video = document.getElementById('video-stream');
    return { seen: window.seen, frames: video.getVideoPlaybackQuality().totalVideoFrames, playedS: video.currentTime };
  });
  const offMs = seen.times.map(({ stampMs, saidMs }) => saidMs - stampMs).sort((one, two) => one - two);
  const medianMs = offMs[Math.floor(offMs.length / 2)];
  const recordedS = (first.end - first.start + second.end - second.start) / 1_000;
  console.log(JSON.stringify({ recordedS, playedS, frames, medianMs, waits: seen.waits, errors: seen.errors }));
  check(seen.errors.length === 0, seen.errors.join('; '));
  check(Math.abs(playedS - recordedS) < 0.5, `played ${playedS} s of ${recordedS} s`);
  check(frames > 0.9 * 30 * recordedS, `${frames} pictures`);
  check(seen.waits.every((at) => at < 0.5), `it stood still at ${seen.waits}`);
  check(Math.abs(medianMs) < NEAR_MS, `times are ${medianMs} ms off`);
  const within = (run) => seen.times.filter(({ stampMs }) => stampMs > run.start - NEAR_MS && stampMs < run.end + NEAR_MS).length;
  check(within(first) > 30 && within(second) > 30, `${within(first)} and ${within(second)} pictures of the runs`);
  check(within(first) + within(second) === seen.times.length, 'pictures of a time at which nothing was recorded');

  for (const wanted of [second.start + 2_000, first.start + 2_000]) {
    await page.evaluate((at) => {
      const video = document.getElementById('video-stream');
      const fragment = window.hls.levels[0].details.fragments.findLast(({ programDateTime }) => programDateTime <= at);
      video.currentTime = fragment.start + (at - fragment.programDateTime) / 1_000;
    }, wanted);
    const shown = () => page.evaluate(() => window.stamps.readings.at(-1)?.stampMs);
    await until(`the picture of ${wanted}`, async () => Math.abs((await shown()) - wanted) < NEAR_MS);
  }
}
