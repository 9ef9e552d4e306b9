/** The page: that it plays, says what it does, and comes back by itself. */
import { watchStamps } from './stamp.mjs';
import { becomes, check, isClean, moves, pause, pictures, until, watchMachine, words } from './support.mjs';

export async function plays_on_every_port(stage) {
  const server = await stage.server();
  for (const [port, path] of [
    ['webrtc', 'zerolatency/'],
    ['hls', 'zerolatency/'],
    ['http', ''],
    ['http', 'live/zerolatency/'],
  ]) {
    const page = await stage.page();
    await page.goto(server.url(path, server.ports[port]));
    await becomes(page, 'live');
    await moves(page);
    await isClean(page);
    await page.close();
  }
}

export async function a_name_may_hold_slashes(stage) {
  const server = await stage.server(['--open']);
  await stage.publisher(server, 'house/front/door');
  const page = await stage.page();
  await page.goto(server.url('house/front/door'));
  await becomes(page, 'live');
  await moves(page);
  await isClean(page);
}

export async function says_what_is_not_there(stage) {
  const server = await stage.server(['--open']);
  const page = await stage.page();
  await page.goto(server.url('nowhere/'));
  await becomes(page, 'gone');
  check((await words(page)).includes('“nowhere” cannot be shown now'), await words(page));
  await isClean(page);
}

/** What strangers choose is text, in a path as in a query. */
export async function strangers_words_are_text(stage) {
  const server = await stage.server(['--open']);
  await stage.publisher(server, 'house');
  const chosen = [
    '</script><script>window.broken=1</script>',
    '"><img src=x onerror=window.broken=1>',
    'javascript:window.broken=1',
  ].map(encodeURIComponent);
  for (const port of ['http', 'webrtc', 'hls']) {
    const page = await stage.page();
    for (const word of chosen) {
      for (const path of [`${word}/`, `${word}/publish`, `live/${word}/`, `house/?latency=${word}#${word}`, `?token=${word}`]) {
        const url = `http://127.0.0.1:${server.ports[port]}/${path}`;
        await page.goto(url);
        const found = await page.evaluate(() => ({
          broken: window.broken,
          violations: window.violations,
          elements: document.querySelectorAll('img[src=x], script:not([src], [type="application/json"])').length,
        }));
        check(JSON.stringify(found) === '{"violations":[],"elements":0}', `${url}: ${JSON.stringify(found)}`);
      }
    }
    await page.close();
  }
}

/** A link with a token needs no more; without one there is a form, and behind it the page that was asked for. */
export async function asks_who_somebody_is(stage) {
  const server = await stage.server(['--source', 'test']);
  const path = '/live/zerolatency/';
  const page = await stage.page();
  await page.goto(server.url(path.slice(1), server.ports.http));
  await page.evaluate(async () => {
    const icon = new Image();
    icon.src = document.querySelector('link[rel=icon]').href;
    await icon.decode();
  });
  await isClean(page);
  await page.fill('#password', server.token('viewer'));
  await page.keyboard.press('Enter');
  await page.waitForSelector('.live');
  check(new URL(page.url()).pathname === path, page.url());
  await page.goto(server.url('', server.ports.http));
  await page.waitForSelector('#camera-select:enabled');
  await page.click('[popovertarget=avatar]');
  await page.click('text=Sign out');
  await page.waitForSelector('#password');
  await isClean(page);
}

export async function falls_back_and_returns(stage) {
  const server = await stage.server();
  const page = await stage.page();
  const refuse = (route) => route.fulfill({ status: 503, body: 'no sessions are left' });
  await page.route(/\/whep$/, refuse);
  await page.goto(server.url());
  await becomes(page, 'fallen-back');
  check((await words(page)).includes('no sessions are left'), 'the server’s reason is on the page');
  await moves(page);
  await page.unroute(/\/whep$/, refuse);
  await becomes(page, 'live', 45_000);
  await moves(page);
  check((await page.locator('video').count()) === 1, 'what was replaced is gone');
  await isClean(page);
}

/** The library that plays LL-HLS was wanted first when the server was away: it is asked for again. */
export async function falls_back_though_the_library_was_not_there(stage) {
  const server = await stage.server();
  const page = await stage.page();
  let inVain = 0;
  page.on('requestfailed', (request) => (inVain += Number(/\/assets\/hls-/.test(request.url()))));
  await page.goto(server.url());
  await becomes(page, 'live');
  await server.process.kill();
  await until('the library was asked for in vain', () => inVain > 0);
  await page.route(/\/whep$/, (route) => route.fulfill({ status: 503, body: 'not now' }));
  await server.start();
  await becomes(page, 'fallen-back');
  await moves(page);
  await isClean(page);
}

/** As behind a firewall that knows the port of signalling alone: the offer is answered, and no packet comes through, by UDP nor by TCP. */
export async function falls_back_where_media_are_blocked(stage) {
  const server = await stage.server();
  const page = await stage.page();
  await page.route(/\/whep$/, async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace(/^(a=candidate:\S+ \d \S+ \d+ \S+) \d+/gm, '$1 9');
    await route.fulfill({ response, body });
  });
  await page.goto(server.url());
  const waited = await becomes(page, 'fallen-back', 15_000);
  console.log(`a picture by LL-HLS after ${waited.toFixed(0)} ms`);
  check(/is UDP to the server blocked/.test(await words(page)), await words(page));
  await moves(page);
  await isClean(page);
}

export async function a_still_is_not_called_live(stage) {
  const server = await stage.server(['--open']);
  const publisher = await stage.publisher(server);
  const page = await stage.page();
  await page.goto(server.url());
  await becomes(page, 'live');
  await pause(1_000);
  const machine = await watchMachine(stage);
  await page.evaluate(watchStill);
  publisher.signal('SIGSTOP');
  await becomes(page, ['held', 'gone']);
  const { shownMs, saidMs } = await page.evaluate(() => window.still);
  // It looks a few times a second, and not while the machine gives its time to others.
  const most = 2_500 + Math.max(0, ...(await machine.pauses()).map(({ ms }) => ms));
  const waited = saidMs - shownMs;
  check(waited > 1_900 && waited < most, `it said so ${waited} ms after the last picture, not within ${most}`);
  check(/No picture since \d\d:\d\d:\d\d/.test(await words(page)), await words(page));
  publisher.signal('SIGCONT');
  await becomes(page, 'live');
  await moves(page);
  await isClean(page);
}

/** In the page: when its newest picture was shown and when it first said that there is none. Leaves `window.still`. */
function watchStill() {
  window.still = { shownMs: performance.now(), saidMs: null };
  const video = document.getElementById('video-stream');
  const shown = () => {
    if (window.still.saidMs === null) window.still.shownMs = performance.now();
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
  const notice = document.querySelector('.notice');
  new MutationObserver(() => {
    if (['held', 'gone'].includes(notice.dataset.phase)) window.still.saidMs ??= performance.now();
  }).observe(notice, { attributes: true });
}

export async function heals_when_the_publisher_returns(stage) {
  const server = await stage.server(['--open']);
  const first = await stage.publisher(server);
  const page = await stage.page();
  await page.goto(server.url());
  await becomes(page, 'live');
  await first.kill();
  // Longer than the server holds viewers.
  await becomes(page, 'gone');
  const shown = await pictures(page);
  await stage.publisher(server);
  await becomes(page, 'live', 15_000);
  await moves(page);
  check(shown > 0, 'there was a picture before');
  await isClean(page);
}

export async function heals_when_the_server_returns(stage) {
  await heals(stage, await stage.page(), 'live');
}

export async function heals_by_hls_when_the_server_returns(stage) {
  const page = await stage.page();
  await page.route(/\/whep$/, (route) => route.fulfill({ status: 503, body: 'not now' }));
  await heals(stage, page, 'fallen-back');
}

async function heals(stage, page, playing) {
  const server = await stage.server();
  await page.addInitScript(watchStamps);
  await page.goto(server.url());
  await becomes(page, playing);
  await pause(1_000);
  await server.restart();
  const began = Date.now();
  // Not one that lay ready from before.
  const isNew = (since) => window.stamps.readings.some((reading) => reading.stampMs > since);
  await until('a picture comes that is new', () => page.evaluate(isNew, began));
  console.log(`${playing}: a picture again ${Date.now() - began} ms after the server`);
  await becomes(page, playing);
  check((await page.locator('video').count()) <= 2, 'there is what is shown, and at most one try');
  await isClean(page);
}

export async function fits_a_telephone(stage) {
  const server = await stage.server();
  for (const [path, port] of [
    ['', server.ports.http],
    ['zerolatency/', server.ports.webrtc],
    ['zerolatency/publish', server.ports.webrtc],
  ]) {
    const page = await stage.page({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
    await page.goto(server.url(path, port));
    if (!path.endsWith('publish')) await becomes(page, ['live', 'fallen-back']);
    await pause(500);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(over <= 0, `/${path} is ${over} pixels too wide`);
    await isClean(page);
    await page.close();
  }
}

/** Everything that can be clicked has a name and can be reached by keyboard alone. */
export async function works_by_keyboard(stage) {
  const server = await stage.server();
  const page = await stage.page();
  await page.goto(server.url('', server.ports.http));
  await becomes(page, ['live', 'fallen-back']);
  const reached = new Set();
  for (let presses = 0; presses < 30; presses++) {
    await page.keyboard.press('Tab');
    reached.add(
      await page.evaluate(() => {
        const element = document.activeElement;
        return element?.id || element?.getAttribute('aria-label') || element?.textContent?.trim() || '';
      }),
    );
  }
  for (const wanted of ['camera-select', 'connect-btn', 'Full screen']) {
    check(reached.has(wanted), `${wanted} cannot be reached; these can: ${[...reached].join(', ')}`);
  }
  await page.focus('#connect-btn');
  await page.keyboard.press('Enter');
  await becomes(page, 'stopped');
  await page.keyboard.press('Enter');
  await becomes(page, ['live', 'fallen-back']);
  await isClean(page);
}

/** What people's scripts read in the page (CONTRACT §8). */
export async function keeps_the_ids_that_scripts_read(stage) {
  const server = await stage.server();
  const page = await stage.page();
  await page.goto(server.url('', server.ports.http));
  await becomes(page, ['live', 'fallen-back']);
  const ids = ['cpu-usage', 'memory-usage', 'memory-used', 'memory-total', 'network-upload', 'frames-sent', 'frames-dropped', 'fps', 'viewer-count'];
  for (const id of ids) {
    await until(`#${id} holds a number`, async () => /\d/.test((await page.locator(`#${id}`).textContent()) ?? ''), 10_000);
  }
  for (const id of ['video-stream', 'camera-select', 'latency', 'connection-status', 'stream-time', 'activity-log', 'connect-btn']) {
    check((await page.locator(`#${id}`).count()) === 1, `#${id} is there once`);
  }
}
