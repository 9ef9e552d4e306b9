/** The dashboard: what is around each screen, and the control center. */
import { readFileSync } from 'node:fs';
import { becomes, check, isClean, moves, pause, pictures, until } from './support.mjs';

const SIZES = [
  { viewport: { width: 1_440, height: 900 } },
  { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
];
/** Two cameras. */
const SOURCE = ['--source', 'test', '--open'];

async function begun(stage, { server, options = {}, path = '', stored = {} } = {}) {
  const page = await stage.page(options);
  await page.addInitScript((values) => {
    for (const [name, value] of Object.entries(values)) localStorage.setItem(`sightline.${name}`, value);
  }, stored);
  await page.goto(server.url(path, server.ports.http));
  return page;
}

/** Puts pictures of what is tested into the folder that SCREENSHOTS names, for people to look at. */
async function shoot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
}

function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

export async function fits_both_sizes_in_both_themes(stage) {
  const server = await stage.server(SOURCE);
  await stage.publisher(server, 'garden/gate');
  for (const options of SIZES) {
    for (const theme of ['dark', 'light']) {
      const page = await begun(stage, { server, options, stored: { theme } });
      await becomes(page, ['live', 'fallen-back']);
      await moves(page);
      await until('figures are there', async () => /\d/.test((await page.locator('#cpu-usage').textContent()) ?? ''));
      check((await page.evaluate(() => document.documentElement.dataset.theme)) === theme, theme);
      check((await overflow(page)) <= 0, `${await overflow(page)} pixels too wide`);
      await shoot(page, `control-${options.viewport.width}-${theme}`);
      for (const [opener, shown] of [
        ['[popovertarget=avatar]', '#avatar'],
        ['[popovertarget=bell]', '#bell'],
      ]) {
        await page.click(opener);
        await page.waitForSelector(`${shown}:popover-open`);
        const inside = await page.evaluate((selector) => {
          const { left, right } = document.querySelector(selector).getBoundingClientRect();
          return left >= 0 && right <= innerWidth;
        }, shown);
        check(inside, `${shown} is on the screen`);
        await shoot(page, `${shown.slice(1)}-${options.viewport.width}-${theme}`);
        await page.keyboard.press('Escape');
      }
      // As narrow as the narrowest phones.
      if (options.isMobile) {
        await page.setViewportSize({ width: 320, height: 640 });
        check((await overflow(page)) <= 0, `${await overflow(page)} pixels too wide at 320`);
      }
      await isClean(page);
      await page.close();
    }
  }
}

/** A picture of another camera, the menu, the keys and back, without a pointer. */
export async function is_used_by_keyboard_alone(stage) {
  const server = await stage.server(SOURCE);
  await stage.publisher(server, 'garden/gate');
  const page = await begun(stage, { server });
  await becomes(page, ['live', 'fallen-back']);
  await page.keyboard.press('/');
  await until('both cameras are known', async () => (await page.locator('[role=option]').count()) >= 2);
  await page.keyboard.type('GATE');
  await until('one is found', async () => (await page.locator('[role=option]').count()) === 1);
  await page.keyboard.press('Enter');
  await until('its name is in the address', () => new URL(page.url()).searchParams.get('camera') === 'garden/gate');
  await becomes(page, ['live', 'fallen-back']);
  await moves(page);
  await page.keyboard.press('?');
  await page.waitForSelector('dialog[open]');
  check((await page.locator('dialog[open] kbd').count()) > 5, 'keys are listed');
  // What is behind a dialog hears nothing.
  await page.keyboard.press(' ');
  await page.keyboard.press('Escape');
  await until('the list is closed', async () => (await page.locator('dialog[open]').count()) === 0);
  await becomes(page, ['live', 'fallen-back']);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press(' ');
  await becomes(page, 'stopped');
  await page.focus('#chat-input');
  await page.keyboard.type(' s?');
  check((await page.inputValue('#chat-input')) === ' s?', 'fields take letters');
  await page.goBack();
  await until('the address is the one of before', () => new URL(page.url()).searchParams.get('camera') === null);
  await isClean(page);
}

export async function goes_from_screen_to_screen_without_loading_anew(stage) {
  const server = await stage.server(SOURCE);
  const page = await begun(stage, { server });
  await becomes(page, ['live', 'fallen-back']);
  await page.evaluate(() => (window.sameDocument = true));
  const places = await page.locator('nav a[href]').evaluateAll((links) => [...new Set(links.map((link) => link.href))]);
  // Where one is already, nothing happens: the first is the last.
  for (const place of [...places.slice(1), places[0]].filter((one) => places.length > 1 || one !== places[0])) {
    await page.click(`nav li a[href="${place}"]`);
    await until('the screen has the focus', () => page.evaluate(() => document.activeElement?.tagName === 'H1'));
    check((await page.locator('h1').count()) === 1, `${place} has one heading`);
    // The settings lead to the first of their own places.
    const [at, led] = [page.url(), place].map((url) => url.split('?')[0]);
    check(at === led || at.startsWith(`${led.replace(/\/$/, '/nothing')}/`), `${page.url()} is ${place}`);
    check(await page.evaluate(() => window.sameDocument), `${place} is the same page`);
    check((await overflow(page)) <= 0, `${place} is ${await overflow(page)} pixels too wide`);
  }
  // Each is also a place to begin.
  for (const place of places) {
    await page.goto(place);
    await page.waitForSelector('h1');
  }
  await isClean(page);
}

export async function heals_when_the_server_returns(stage) {
  const server = await stage.server(SOURCE);
  const page = await begun(stage, { server });
  await becomes(page, ['live', 'fallen-back']);
  await page.evaluate(() => (window.sameDocument = true));
  await server.process.kill();
  const said = () => page.locator('footer [role=status]').innerText();
  await until('the page says that it is alone', async () => /Not connected/.test(await said()));
  check(/–/.test(await page.locator('#cpu-usage').innerText()), 'no figure of before stands there as if it were of now');
  await server.start();
  await until('the page is connected', async () => /^Connected/.test(await said()));
  await becomes(page, ['live', 'fallen-back']);
  await moves(page);
  await until('figures are there again', async () => /\d/.test((await page.locator('#cpu-usage').textContent()) ?? ''));
  check(await page.evaluate(() => window.sameDocument), 'without being loaded anew');
  await isClean(page);
}

export async function chat_goes_from_page_to_page(stage) {
  const server = await stage.server(SOURCE);
  const [one, other] = [await begun(stage, { server }), await begun(stage, { server })];
  for (const page of [one, other]) await page.waitForSelector('#chat-input:enabled');
  await one.fill('#chat-input', '<b>Is the gate open?</b>');
  await one.keyboard.press('Enter');
  await until('it arrives', async () => /<b>Is the gate open\?<\/b>/.test(await other.locator('#chat-messages').innerText()));
  check((await one.locator('#chat-messages li').count()) === 1, 'who said it reads it once');
  check((await one.locator('#chat-messages li').innerText()).includes('you'), 'and knows that it was them');
  for (const page of [one, other]) await isClean(page);
}

export async function speaks_vietnamese(stage) {
  const server = await stage.server(SOURCE);
  const page = await begun(stage, { server, options: { locale: 'vi-VN' } });
  await becomes(page, ['live', 'fallen-back']);
  check((await page.evaluate(() => document.documentElement.lang)) === 'vi', 'the page says its language');
  check((await page.locator('#connection-status').innerText()) === 'Trực tiếp', await page.locator('#connection-status').innerText());
  await page.click('[popovertarget=avatar]');
  await page.click('label[lang=en]');
  await until('it is English', async () => (await page.locator('#connection-status').innerText()) === 'Live');
  await page.reload();
  await until('it stays English', async () => (await page.evaluate(() => document.documentElement.lang)) === 'en');
  await isClean(page);
}

/** Whose session the server does not know any more is told so, and led to where one signs in. */
export async function says_that_one_is_signed_out(stage) {
  const server = await stage.server(['--source', 'test']);
  const page = await begun(stage, { server });
  await page.fill('#password', server.token('viewer'));
  await page.keyboard.press('Enter');
  await page.waitForSelector('#camera-select:enabled');
  await becomes(page, ['live', 'fallen-back']);
  await server.process.kill();
  server.forget();
  await server.start();
  await page.waitForSelector('dialog:modal[aria-labelledby=signed-out]', { timeout: 30_000 });
  await shoot(page, 'signed-out');
  await page.click('dialog:modal button');
  await page.waitForSelector('#password');
}

/** By who may; who may not is not offered it. */
export async function records_and_takes_snapshots(stage) {
  const server = await stage.server(['--source', 'test']);
  const viewer = await begun(stage, { server, path: `?token=${server.token('viewer')}` });
  await becomes(viewer, ['live', 'fallen-back']);
  await viewer.waitForSelector('.controls button:enabled:has-text("Snapshot")');
  check((await viewer.locator('button:has-text("Record")').count()) === 0, 'viewers record nothing');
  const page = await begun(stage, { server, path: `?token=${server.token('admin')}` });
  await becomes(page, ['live', 'fallen-back']);
  await page.click('.controls button:has-text("Record")');
  for (const one of [page, viewer]) await one.waitForSelector('.controls :text("Recording since")');
  await shoot(page, 'recording');
  await page.click('button:has-text("End recording")');
  await page.waitForSelector('button:text-is("Record")');
  const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('s')]);
  check(/^zerolatency_\d{8}_\d{6}\.jpg$/.test(download.suggestedFilename()), download.suggestedFilename());
  check((await pictures(page)) > 0, 'the picture goes on');
  await pause(500);
  for (const one of [page, viewer]) await isClean(one);
}

/** What happened and what was recorded is found from any screen, and the timeline shows it. */
export async function finds_what_happened(stage) {
  const server = await stage.server(['--source', 'test']);
  const page = await begun(stage, { server, path: `?token=${server.token('admin')}` });
  await becomes(page, ['live', 'fallen-back']);
  await page.click('.controls button:has-text("Record")');
  await page.waitForSelector('.controls :text("Recording since")');
  const at = Date.now();
  const told = await fetch(server.url('api/v1/recordings/events', server.ports.http), {
    method: 'POST',
    headers: { authorization: `Bearer ${server.token('admin')}`, 'content-type': 'application/json' },
    body: JSON.stringify({ camera: 'zerolatency', kind: 'bell', start: at }),
  });
  check(told.status === 201, `${told.status} ${await told.text()}`);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('/');
  await page.keyboard.type('bell');
  await page.waitForSelector('[role=option]:has-text("Doorbell · zerolatency")');
  await shoot(page, 'search');
  await page.keyboard.press('Enter');
  await until('the timeline is at what happened', () => {
    const url = new URL(page.url());
    return url.pathname.endsWith('/timeline') && Math.abs(Number(url.searchParams.get('at')) - at) < 1_000 && url.searchParams.get('camera') === 'zerolatency';
  });
  await page.waitForSelector('h1');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('/');
  await page.keyboard.type('zero today');
  await page.waitForSelector('[role=option]:has-text("Recording")');
  await page.keyboard.press('Enter');
  await until('the timeline is at midnight', () => Number(new URL(page.url()).searchParams.get('at')) === new Date().setHours(0, 0, 0, 0));
  await isClean(page);
}

/** Of all processors since the machine started, in ticks. */
function processors() {
  const [, ...ticks] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].split(/\s+/);
  // What guests took stands in the first ones already.
  const [user, nice, system, idle, waiting, irq, softirq, steal] = ticks.map(Number);
  return { idle: idle + waiting, all: user + nice + system + idle + waiting + irq + softirq + steal };
}

/** Two cameras in two browsers, on a desk and on a telephone: what their cards say is what the system says itself. */
export async function values_are_those_of_the_system(stage) {
  const server = await stage.server(SOURCE);
  await stage.publisher(server, 'garden/gate');
  const other = await stage.mortalBrowser();
  const pages = [await begun(stage, { server, options: SIZES[0], path: '?camera=zerolatency' }), await other.page(SIZES[1])];
  await pages[1].goto(server.url('?camera=garden%2Fgate', server.ports.http));
  const figureOf = async (page, id) => Number.parseFloat((await page.locator(`#${id}`).textContent()).replace(/[^\d.]/g, ''));
  for (const page of pages) {
    await becomes(page, ['live', 'fallen-back']);
    await moves(page);
    await until('the processor is known', async () => Number.isFinite(await figureOf(page, 'cpu-usage')));
  }
  const before = processors();
  const said = pages.map(() => []);
  // So long that the second by which a page is behind makes no difference.
  for (let second = 0; second < 20; second++) {
    await pause(1_000);
    for (const [index, page] of pages.entries()) said[index].push(await figureOf(page, 'cpu-usage'));
  }
  const after = processors();
  const busy = 100 * (1 - (after.idle - before.idle) / (after.all - before.all));
  const memory = readFileSync('/proc/meminfo', 'utf8');
  const [total, available] = ['MemTotal', 'MemAvailable'].map((name) => Number(new RegExp(`${name}: +(\\d+)`).exec(memory)[1]));
  for (const [index, page] of pages.entries()) {
    const mean = said[index].reduce((sum, value) => sum + value, 0) / said[index].length;
    console.log(`processor: the page says ${mean.toFixed(1)} %, /proc/stat ${busy.toFixed(1)} %`);
    check(Math.abs(mean - busy) <= 10, `the page says ${mean} %, the system ${busy} %: ${said[index].join(' ')}`);
    const used = await figureOf(page, 'memory-usage');
    check(Math.abs(used - 100 * (1 - available / total)) <= 5, `the page says ${used} % of memory, the system ${100 * (1 - available / total)} %`);
    check(Math.abs((await figureOf(page, 'memory-total')) - total / 1_024) <= 1, 'memory there is');
    const viewers = await figureOf(page, 'viewer-count');
    const told = (await (await fetch(server.url('api/v1/streams', server.ports.http))).json()).streams.map(({ name, viewers: count }) => `${name}: ${count}`).join(', ');
    check(viewers === 1, `one looks at each, and not ${viewers}; the server says ${told}`);
    await isClean(page);
  }
}
