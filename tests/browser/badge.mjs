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
  await pause(3_000);
  const differences = [];
  for (let index = 0; index < 40; index++) {
    await pause(250);
    const { badge, stamp } = await page.evaluate(() => {
      const text = document.getElementById('latency')?.innerText ?? '';
      // What the badge shows is the median of the last second.
      const recent = window.stamps.readings.filter((reading) => reading.at > performance.now() - 1_000);
      const ages = recent.map((reading) => reading.displayMs - reading.stampMs).sort((a, b) => a - b);
      return { badge: Number.parseFloat(text.replaceAll(',', '')), stamp: ages[Math.ceil(ages.length / 2) - 1] };
    });
    // While it catches up or stands still one of the two may have nothing to say.
    if (Number.isFinite(badge) && Number.isFinite(stamp)) differences.push(Math.abs(badge - stamp));
  }
  check(differences.length >= 30, `the badge said something ${differences.length} times out of 40`);
  const stamps = await page.evaluate(() => {
    const ages = window.stamps.readings.map((reading) => reading.displayMs - reading.stampMs);
    return { ages, frames: window.stamps.frames, unread: window.stamps.unread };
  });
  const p95 = quantile(differences, 0.95);
  console.log(
    `${hls ? 'LL-HLS' : 'WebRTC'}, clock wrong by ${wrongByMs} ms: stamp p50 ${quantile(stamps.ages, 0.5).toFixed(1)} p95 ${quantile(stamps.ages, 0.95).toFixed(1)} ms, ` +
      `badge differs by p50 ${quantile(differences, 0.5).toFixed(1)} p95 ${p95.toFixed(1)} ms; ${stamps.unread} of ${stamps.frames} stamps unread`,
  );
  check(stamps.unread <= stamps.frames / 50, `${stamps.unread} of ${stamps.frames} stamps could not be read`);
  check(p95 <= 20, `the badge differs from the stamp by ${p95} ms`);
  await isClean(page);
}
