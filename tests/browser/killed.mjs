/** Server, publisher, browser and network away in turn, under pages that nobody touches: each heals, and says meanwhile what is missing. */
import { watchStamps } from './stamp.mjs';
import { PATIENCE_MS, becomes, check, isClean, moves, pause, phase, until, words } from './support.mjs';

/** All the ways that pages show a stream: by WebRTC, by LL-HLS, and the page that lists the streams. */
async function pages(stage, server, options = {}) {
  const opened = [];
  for (const [name, path, port, playing] of [
    ['WebRTC', 'zerolatency/', server.ports.webrtc, 'live'],
    ['LL-HLS', 'zerolatency/', server.ports.hls, 'fallen-back'],
    ['home', '', server.ports.http, 'live'],
  ]) {
    const page = await stage.page(options);
    if (playing === 'fallen-back') await page.route(/\/whep$/, (route) => route.fulfill({ status: 503, body: 'not now' }));
    await page.addInitScript(watchStamps);
    await page.goto(server.url(path, port));
    opened.push({ name, page, playing });
  }
  await play(opened);
  return opened;
}

/** Waits until all of them play, whatever the size. */
async function play(opened, size = null) {
  const began = performance.now();
  for (const { name, page, playing } of opened) {
    await becomes(page, playing);
    await moves(page, PATIENCE_MS).catch(async (error) => {
      throw new Error(`${error.message} on ${name}; it says: ${await phase(page)} ${await words(page)}`);
    });
    if (size === null) continue;
    const seen = () => page.evaluate(() => `${document.getElementById('video-stream').videoWidth}x${document.getElementById('video-stream').videoHeight}`);
    await until(`${name} shows ${size}`, async () => (await seen()) === size);
  }
  return performance.now() - began;
}

/** Waits until all of them say that there is no picture, and why. */
async function say(opened, why) {
  for (const { name, page } of opened) {
    await becomes(page, ['held', 'gone']);
    check(/No picture since \d\d:\d\d:\d\d/.test(await words(page)), `${name} says: ${await words(page)}`);
    await until(`${name} says ${why}`, async () => why.test(await words(page))).catch(async (error) => {
      throw new Error(`${error.message}; it says: ${await words(page)}`);
    });
  }
}

async function end(opened) {
  for (const { page } of opened) await isClean(page);
}

const AWAY = /publisher is away/i;
const UNREACHABLE = /server does not answer/;
/** For as long as the last of the pages on a busy machine takes to say that the publisher is away: later, the stream is. */
const HELD = { SIGHTLINE_LIMITS_HOLD: '1min' };

/** Each time the pictures are of another size, and for FFmpeg's of another profile. */
export async function publishers_of_other_sizes_come_and_go(stage) {
  const server = await stage.server(['--open'], HELD);
  let publisher = await stage.publisher(server);
  const opened = await pages(stage, server);
  for (const [size, profile] of [
    ['320x240', 'baseline'],
    ['800x600', 'high'],
    ['640x480', 'main'],
  ]) {
    await publisher.kill();
    await say(opened, AWAY);
    publisher = await stage.ffmpeg(server, { size, profile });
    console.log(`${size} ${profile}: all play ${(await play(opened, size)).toFixed(0)} ms after FFmpeg began`);
  }
  await end(opened);
}

/** First the publisher, then the server as well: the page does not go on saying that the publisher is what is missing. */
export async function a_server_dies_after_its_publisher(stage) {
  const server = await stage.server(['--open'], HELD);
  const publisher = await stage.publisher(server);
  const opened = await pages(stage, server);
  await publisher.kill();
  await say(opened, AWAY);
  await server.process.kill();
  await say(opened, UNREACHABLE);
  for (const { name, page } of opened) check(!AWAY.test(await words(page)), `${name} says: ${await words(page)}`);
  await server.start();
  await stage.publisher(server);
  await play(opened);
  await end(opened);
}

/** A publisher that is back at once: nobody should have to read anything. */
export async function a_publisher_is_killed_and_back_at_once(stage) {
  const server = await stage.server(['--open']);
  let publisher = await stage.publisher(server);
  const opened = await pages(stage, server);
  for (let times = 0; times < 3; times++) {
    await publisher.kill();
    publisher = await stage.publisher(server, 'zerolatency', ['--source', 'test', '--size', times % 2 === 0 ? '320x240' : '640x480']);
    await play(opened, times % 2 === 0 ? '320x240' : '640x480');
  }
  await end(opened);
}

/** As after a new installation on the same address: its certificate and its tokens are others. */
export async function a_server_returns_as_another(stage) {
  const server = await stage.server();
  const opened = await pages(stage, server);
  const secure = await stage.page({ ignoreHTTPSErrors: true });
  await secure.goto(`https://${server.host}:${server.ports.https}/`);
  opened.push({ name: 'HTTPS', page: secure, playing: 'live' });
  await play(opened);
  await server.process.kill();
  await say(opened, UNREACHABLE);
  server.forget();
  await server.start();
  const began = Date.now();
  await play(opened);
  // Not pictures that lay ready from before.
  for (const { name, page } of opened.slice(0, 3)) {
    await until(`${name} shows a new picture`, () => page.evaluate((since) => window.stamps.readings.some(({ stampMs }) => stampMs > since), began));
  }
  await end(opened);
}

/** Whoever came with a credential of the server before is told that it is not good any more, and not that all is well. */
export async function a_server_returns_with_other_tokens(stage) {
  const server = await stage.server(['--source', 'test']);
  const page = await stage.page();
  await page.goto(server.url(`zerolatency/?token=${server.token('viewer')}`));
  await becomes(page, 'live');
  await server.process.kill();
  server.forget();
  await server.start();
  await becomes(page, 'gone');
  await until('it says why', async () => /No picture since[^]*(credential|token|sign)/i.test(await words(page))).catch(async (error) => {
    throw new Error(`${error.message}; it says: ${await words(page)}`);
  });
  await isClean(page);
}

/** Twenty seconds without a network: longer than ICE, the socket and HTTP wait for anything. */
export async function the_network_is_gone_for_a_while(stage) {
  const server = await stage.serverBehindACable();
  const opened = await pages(stage, server);
  server.unplug();
  const unplugged = performance.now();
  await say(opened, UNREACHABLE);
  console.log(`all say so ${(performance.now() - unplugged).toFixed(0)} ms after it was gone`);
  await pause(20_000 - (performance.now() - unplugged));
  const began = Date.now();
  server.plug();
  for (const { name, page } of opened) {
    await until(`${name} shows a new picture`, () => page.evaluate((since) => window.stamps.readings.some(({ stampMs }) => stampMs > since), began));
    console.log(`${name}: a picture ${Date.now() - began} ms after the network was back`);
  }
  await play(opened);
  await end(opened);
}

/** A browser that is killed says goodbye to nobody: others go on, the server forgets it, and the next one plays. */
export async function a_browser_is_killed(stage) {
  const server = await stage.server();
  const opened = await pages(stage, server);
  const viewers = async () => (await (await fetch(server.url('api/v1/streams/zerolatency'))).json()).viewers;
  await until('all are counted', async () => (await viewers()) === 3);
  const browser = await stage.mortalBrowser();
  const page = await browser.page();
  await page.goto(server.url());
  await becomes(page, 'live');
  await until('it is counted', async () => (await viewers()) === 4);
  await browser.kill();
  await until('the server forgets it', async () => (await viewers()) === 3, 60_000);
  await play(opened);
  const next = await (await stage.mortalBrowser()).page();
  await next.goto(server.url());
  await becomes(next, 'live');
  await moves(next);
  await end(opened);
}
