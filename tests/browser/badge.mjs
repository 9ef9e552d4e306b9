/** The badge against the stamp in the picture: the same age, within the error that it tells. */
import { setClockWrong, watchStamps } from './stamp.mjs';
import { becomes, check, isClean, pause, quantile, until } from './support.mjs';

export async function agrees_by_webrtc(stage) {
  await agrees(stage, { wrongByMs: 0, hls: false });
}

export async function agrees_by_webrtc_with_a_wrong_clock(stage) {
  await agrees(stage, { wrongByMs: 500, hls: false });
}

export async function agrees_by_hls(stage) {
  await agrees(stage, { wrongByMs: 0, hls: true });
}

export async function agrees_by_hls_with_a_wrong_clock(stage) {
  await agrees(stage, { wrongByMs: -500, hls: true });
}

async function agrees(stage, { wrongByMs, hls }) {
  const server = await stage.server();
  const page = await stage.page();
  if (wrongByMs !== 0) await page.addInitScript(setClockWrong, wrongByMs);
  await page.addInitScript(watchStamps);
  if (hls) await page.route(/\/whep$/, (route) => route.fulfill({ status: 503, body: 'not now' }));
  await page.goto(server.url());
  await becomes(page, hls ? 'fallen-back' : 'live');
  await until('the badge says something', async () => /\d/.test(await page.locator('#latency').innerText()));
  check((await page.locator('.what').innerText()).startsWith('glass to glass'), 'the capture time is ours');
  await pause(1_000);
  await page.evaluate(watchBadge);
  await pause(12_000);
  const differences = await until('the badge was compared eight times', async () => {
    const all = await page.evaluate(() => window.badge);
    return all.length >= 8 && all;
  });
  const stamps = await page.evaluate(() => {
    const ages = window.stamps.readings.map((reading) => reading.displayMs - reading.stampMs);
    return { ages, frames: window.stamps.frames, unread: window.stamps.unread };
  });
  const p95 = quantile(differences, 0.95);
  console.log(
    `${hls ? 'LL-HLS' : 'WebRTC'}, clock wrong by ${wrongByMs} ms: stamp p50 ${quantile(stamps.ages, 0.5).toFixed(1)} p95 ${quantile(stamps.ages, 0.95).toFixed(1)} ms, ` +
      `badge differs, beyond the error that it tells, by p50 ${quantile(differences, 0.5).toFixed(1)} p95 ${p95.toFixed(1)} ms; ${stamps.unread} of ${stamps.frames} stamps unread`,
  );
  check(stamps.unread <= stamps.frames / 50, `${stamps.unread} of ${stamps.frames} stamps could not be read`);
  check(p95 <= 20, `the badge differs from the stamp by ${p95} ms`);
  await isClean(page);
}

/** In the page: by how much the badge is off whenever it changes, from the stamps of the same second. Leaves `window.badge`. */
function watchBadge() {
  window.badge = [];
  new MutationObserver(() => {
    const number = (text) => Number.parseFloat((text ?? '').replaceAll(',', ''));
    const shown = number(document.getElementById('latency')?.innerText);
    // By so much the clocks may be apart: on a busy machine all of the first round trips are long.
    const error = number(document.querySelector('.badge .what')?.innerText.split('±')[1]);
    // What the badge shows is the median of the last second.
    const recent = window.stamps.readings.filter((reading) => reading.at > performance.now() - 1_000);
    const ages = recent.map((reading) => reading.displayMs - reading.stampMs).sort((a, b) => a - b);
    // Of a page that is too busy to draw its 30 pictures the stamps are of later ones than those that the browser told of.
    if (ages.length < 24) return;
    // It and this may differ by a picture or two, which is much while the delay jumps, as it does when LL-HLS comes nearer to the edge: all is
    // right that is the middle of nearly the same pictures.
    const [least, most] = [ages[Math.floor(ages.length * 0.4)], ages[Math.ceil(ages.length * 0.6) - 1]];
    if (Number.isFinite(shown) && Number.isFinite(error)) window.badge.push(Math.max(0, least - shown - error, shown - most - error));
  }).observe(document.querySelector('.badge .face'), { subtree: true, characterData: true, childList: true });
}
