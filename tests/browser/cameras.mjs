/** Cameras: the list of them, and adding one that another server is. */
import { createServer } from 'node:net';
import { becomes, check, isClean, isSound, moves, until } from './support.mjs';

const DESK = { viewport: { width: 1_440, height: 900 } };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const PASSWORD = 'canary-of-a-camera';

/** Whoever administers, at a screen. */
async function opened(stage, server, path, options, stored = {}) {
  const page = await stage.page(options);
  await page.addInitScript((values) => {
    for (const [name, value] of Object.entries(values)) localStorage.setItem(`sightline.${name}`, value);
  }, stored);
  await page.goto(server.url(`${path}?token=${server.token('admin')}`, server.ports.http));
  return page;
}

async function shoot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
}

/** A step at both sizes and in both themes, to be looked at. */
async function stepOf(page, name, options) {
  for (const theme of ['dark', 'light']) {
    await page.evaluate((wanted) => (document.documentElement.dataset.theme = wanted), theme);
    await isSound(page, `${name}, ${theme}`);
    await shoot(page, `${name}-${options.viewport.width}-${theme}`);
  }
  await page.evaluate(() => (document.documentElement.dataset.theme = 'dark'));
}

async function adds(stage, options) {
  const server = await stage.server(['--source', 'test']);
  const camera = await stage.server(['--source', 'test', '--token', PASSWORD]);
  const source = `rtsp://127.0.0.1:${camera.ports.rtsp}/zerolatency`;
  const page = await opened(stage, server, 'cameras', options);
  const press = async (text) => page.click(`button:text-is("${text}"), a:text-is("${text}")`);
  await page.waitForSelector('th[scope=row]:has-text("zerolatency")');
  await until('it is live', async () => /Live/.test(await page.innerText('td[data-label=State]')));
  await until('figures are there', async () => /fps/.test(await page.innerText('tbody')));
  await stepOf(page, 'cameras', options);
  await page.click('a:has-text("Add a camera")');

  // What is no address is said at its field.
  await page.fill('#camera-address', 'not an address');
  await press('Continue');
  await page.waitForSelector('[role=alert]:has-text("no address of a camera")');
  check((await page.evaluate(() => document.activeElement.id)) === 'camera-address', 'the field that is wrong has the focus');
  await stepOf(page, 'cameras-address', options);

  // Nobody listens there: back at the address, with the cause and the way out.
  await page.fill('#camera-address', 'rtsp://127.0.0.1:9/stream');
  await press('Continue');
  await page.check('input[value="none:"]');
  await press('Try it out');
  await page.waitForSelector('[role=alert]:has-text("nothing listens at that port"):has-text("Switch RTSP")');
  await stepOf(page, 'cameras-refused', options);

  // A login in the address is taken apart.
  await page.fill('#camera-address', source.replace('://', '://viewer:wrong@'));
  await press('Continue');
  await page.waitForSelector('#camera-user');
  check((await page.inputValue('#camera-user')) === 'viewer' && (await page.inputValue('#camera-password')) === 'wrong', 'the login is in its fields');
  check((await page.innerText('.source')) === source, await page.innerText('.source'));
  await stepOf(page, 'cameras-account', options);
  await press('Try it out');
  await page.waitForSelector('[role=alert]:has-text("does not accept this user and password")');
  await stepOf(page, 'cameras-wrong', options);
  await page.fill('#camera-password', PASSWORD);
  await page.keyboard.press('Enter');

  await page.waitForSelector('h3:has-text("It works")');
  await until('its picture is there', () => page.evaluate(() => document.querySelector('.seen img')?.naturalWidth === 640));
  const facts = await page.innerText('.seen dl');
  check(/H\.264/.test(facts) && /640 × 480/.test(facts), facts);
  const rate = Number(/Pictures a second\s+([\d.]+)/.exec(facts)?.[1]);
  check(rate > 10 && rate < 34, facts);
  await stepOf(page, 'cameras-probe', options);
  const saved = await (await fetch(server.url('api/v1/sources', server.ports.http), { headers: { authorization: `Bearer ${server.token('admin')}` } })).json();
  check(saved.sources.length === 0, 'nothing is saved by trying out');
  await press('Continue');

  await page.fill('#camera-name', 'zerolatency');
  await press('Add the camera');
  await page.waitForSelector('[role=alert]:has-text("a camera of this name already")');
  await page.fill('#camera-name', 'yard');
  await stepOf(page, 'cameras-name', options);
  await press('Add the camera');
  await page.waitForSelector('h2:has-text("yard is added")');
  await becomes(page, ['live', 'fallen-back']);
  await moves(page);
  await page.mouse.move(0, 0);
  await stepOf(page, 'cameras-done', options);

  await press('Open it');
  await page.waitForURL('**/?camera=yard*');
  await becomes(page, ['live', 'fallen-back']);
  await moves(page);
  return { server, camera, page, press };
}

export async function adds_one_with_a_wrong_password_first(stage) {
  const { server, page, press } = await adds(stage, DESK);
  const row = 'tr:has(th:has-text("yard"))';
  await page.goto(server.url(`cameras?token=${server.token('admin')}`, server.ports.http));
  await until('it is live', async () => /Live/.test(await page.innerText(`${row} td[data-label=State]`)));
  await until('its keyframes are known', async () => /\d s/.test(await page.innerText(`${row} td[data-label="Keyframe every"]`)));
  check(!(await page.content()).includes(PASSWORD), 'no page has the password');
  await stepOf(page, 'cameras-two', DESK);

  // Another name, with all that it has.
  await page.click(`${row} button:text-is("Edit")`);
  await page.waitForSelector('#edit-name');
  await stepOf(page, 'cameras-edit', DESK);
  await page.fill('#edit-name', 'garden/yard');
  await press('Save');
  await page.waitForSelector('th:has-text("garden/yard")');
  const renamed = 'tr:has(th:has-text("garden/yard"))';
  await until('it is live under its new name', async () => /Live/.test(await page.innerText(`${renamed} td[data-label=State]`)));
  await page.click(`${renamed} button:text-is("Remove")`);
  await page.waitForSelector('dialog:has-text("Forget its login")');
  await stepOf(page, 'cameras-remove', DESK);
  await page.click('dialog button:text-is("Remove")');
  await until('it is gone', async () => !(await page.innerText('tbody')).includes('garden/yard'));
  const kept = await (await fetch(server.url('api/v1/credentials', server.ports.http), { headers: { authorization: `Bearer ${server.token('admin')}` } })).json();
  check(kept.credentials.length === 0, JSON.stringify(kept));
  await isClean(page);
}

export async function adds_one_on_a_telephone(stage) {
  const { page } = await adds(stage, PHONE);
  await page.setViewportSize({ width: 320, height: 640 });
  for (const path of ['cameras', 'cameras/add']) {
    await page.goto(new URL(path, page.url()).href);
    await page.waitForSelector('h1');
    await isSound(page, `${path} at 320`);
  }
  await isClean(page);
}

/** By keyboard alone, in Vietnamese; and given up while it is asked. */
export async function is_given_up_while_a_camera_is_silent(stage) {
  const server = await stage.server(['--source', 'test']);
  const connections = new Set();
  const silent = createServer((socket) => {
    connections.add(socket);
    // Its end is heard by who reads alone.
    socket.resume().on('error', () => {}).on('close', () => connections.delete(socket));
  });
  await new Promise((listens) => silent.listen(0, '127.0.0.1', listens));
  stage.atEnd(() => new Promise((closed) => silent.close(closed)));
  const page = await opened(stage, server, 'cameras/add', DESK, { language: 'vi' });
  await until('it is Vietnamese', async () => (await page.innerText('h1')) === 'Thêm camera');
  await page.focus('#camera-address');
  await page.keyboard.type(`rtsp://127.0.0.1:${silent.address().port}/1`);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#camera-user:focus');
  await page.keyboard.type('anna');
  await page.keyboard.press('Tab');
  await page.keyboard.type('mật khẩu');
  await page.keyboard.press('Enter');
  await page.waitForSelector('progress');
  await until('the camera is asked', () => connections.size > 0);
  await stepOf(page, 'cameras-waiting-vi', DESK);
  await page.focus('button:text-is("Hủy")');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[role=status]:has-text("Không có gì được lưu")');
  await until('the camera is left alone', () => connections.size === 0);
  check((await page.inputValue('#camera-password')) === 'mật khẩu', 'what was typed stays');
  await isClean(page);
}
