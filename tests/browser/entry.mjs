/** What links lead to: the first account, an invitation, a share. */
import { becomes, check, isClean, moves, until } from './support.mjs';

const PASSWORD = 'four words of mine';
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

/** What the server makes for whoever shows its admin's token; the answer's link as an address. */
async function made(server, path, wish) {
  const answer = await fetch(server.url(`api/v1/${path}`, server.ports.http), {
    method: 'POST',
    headers: { authorization: `Bearer ${server.token('admin')}`, 'content-type': 'application/json' },
    body: JSON.stringify(wish),
  });
  const link = await answer.json();
  check(answer.ok, JSON.stringify(link));
  return server.url(link.path, server.ports.http);
}

async function shoot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
}

async function fits(page) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(over <= 0, `${over} pixels too wide`);
}

/** The code is a credential: not in the address, nor in the history. */
async function hasNoCode(page, link) {
  const code = new URL(link).hash.slice(1);
  check(code.length > 20 && !page.url().includes(code), page.url());
  const kept = await page.evaluate(() => JSON.stringify([location.href, document.referrer, { ...localStorage }, { ...sessionStorage }]));
  check(!kept.includes(code), kept);
}

/** Fails unless the name and the password of this page's visitor let somebody in elsewhere. */
async function signsIn(stage, server, name) {
  const page = await stage.page();
  await page.goto(server.url('', server.ports.http));
  await page.fill('#name', name);
  await page.fill('#password', PASSWORD);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#camera-select:enabled');
  await page.close();
}

export async function from_the_printed_link_to_a_picture_and_a_password(stage) {
  const server = await stage.server(['--source', 'test']);
  const page = await stage.page();
  const began = performance.now();
  const link = await server.link();
  const tooEarly = [];
  page.on('request', (request) => tooEarly.push(request.url()));
  await page.goto(link);
  await page.waitForSelector('#password');
  await hasNoCode(page, link);
  check(!tooEarly.some((url) => url.includes('/api/')), `nobody is asked for anything before there is an account: ${tooEarly.join(' ')}`);
  check((await page.locator('video').count()) === 0, 'a code lets nobody look');
  await shoot(page, 'first-run');

  // What is wrong is said at its field, and is where the focus goes.
  await page.fill('#name', 'anna');
  await page.fill('#password', 'short');
  check(/5 more characters/.test(await page.innerText('#password-says')), await page.innerText('#password-says'));
  await page.click('button:text-is("Make the account")');
  check((await page.evaluate(() => document.activeElement.id)) === 'password', 'the field that is wrong has the focus');
  check((await page.getAttribute('#password', 'aria-invalid')) === 'true', 'and says so');
  await page.fill('#password', 'password123');
  await page.keyboard.press('Enter');
  await until('the server’s reason is on the page', async () => /everybody tries/.test(await page.innerText('#password-says')));
  await page.fill('#password', PASSWORD);
  check((await page.getAttribute('#password', 'type')) === 'password', 'it is not shown');
  await page.click('button:text-is("Show")');
  check((await page.getAttribute('#password', 'type')) === 'text' && (await page.inputValue('#password')) === PASSWORD, 'until it is wanted');
  await page.focus('#password');
  await page.keyboard.press('Enter');

  await becomes(page, ['live', 'fallen-back']);
  await moves(page);
  const took = performance.now() - began;
  console.log(`from the printed link to a picture: ${took.toFixed(0)} ms`);
  check(took < 60_000, `${took} ms`);
  check(/You are in, anna/.test(await page.innerText('h1')), await page.innerText('h1'));
  await until('what was chosen is said', async () => /pictures a second/.test(await page.innerText('.facts')));
  await fits(page);
  await shoot(page, 'first-run-done');

  // The three ways on.
  await page.click('button:text-is("Record")');
  await page.waitForSelector('text=It is recorded until');
  await page.click('button:text-is("Share")');
  const shared = await page.inputValue('#share-link');
  check(new URL(shared).pathname === '/shared' && new URL(shared).hash.length > 20, shared);
  check((await page.locator('.warn').count()) === 1, 'nobody else is at 127.0.0.1');
  const friend = await stage.page(PHONE);
  await friend.goto(shared);
  await friend.waitForURL('**/live/zerolatency/');
  await becomes(friend, ['live', 'fallen-back']);
  await page.click('a:has-text("Add an IP camera")');
  await page.waitForSelector('#camera-address');
  await page.goto(server.url('', server.ports.http));
  await page.waitForSelector('#camera-select:enabled');
  await signsIn(stage, server, 'anna');
  for (const one of [page, friend]) await isClean(one);
}

export async function an_invitation_makes_an_account(stage) {
  const server = await stage.server(['--source', 'test']);
  const link = await made(server, 'invitations', { role: 'viewer' });
  const page = await stage.page({ ...PHONE, locale: 'vi-VN' });
  await page.goto(link);
  await page.waitForSelector('#password');
  await hasNoCode(page, link);
  check((await page.innerText('h1')) === 'Tạo tài khoản của bạn', await page.innerText('h1'));
  await page.setViewportSize({ width: 320, height: 640 });
  await fits(page);
  await shoot(page, 'join-320');
  await page.click('button[lang=en]');
  await until('it is English', async () => (await page.innerText('h1')) === 'Make your account');
  // By keyboard alone.
  await page.focus('#name');
  await page.keyboard.type('binh');
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#camera-select:enabled');
  await becomes(page, ['live', 'fallen-back']);
  await signsIn(stage, server, 'binh');
  // Once is all that it is good for.
  const late = await stage.page();
  await late.goto(link);
  await late.fill('#name', 'eve');
  await late.fill('#password', PASSWORD);
  await late.keyboard.press('Enter');
  await late.waitForSelector('[role=alert]:has-text("This link was used already")');
  // Another one, pasted over it.
  await late.goto(await made(server, 'invitations', { role: 'viewer' }));
  await late.fill('#name', 'BINH');
  await late.fill('#password', PASSWORD);
  await late.keyboard.press('Enter');
  await until('the name is taken', async () => /has this name already/.test(await late.innerText('#name-says')));
  await late.fill('#name', 'eve');
  await late.focus('#password');
  await late.keyboard.press('Enter');
  await late.waitForSelector('#camera-select:enabled');
  for (const one of [page, late]) await isClean(one);
}

export async function a_share_shows_its_camera(stage) {
  const server = await stage.server(['--source', 'test']);
  await stage.publisher(server, 'garden/gate', ['--source', 'test', '--token', server.token('publisher')]);
  const link = await made(server, 'shares', { cameras: ['garden/gate'], viewers: 1, password: PASSWORD });
  const page = await stage.page(PHONE);
  await page.goto(link);
  await page.fill('#share-password', 'something else');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[role=alert]:has-text("not the password of this link")');
  await hasNoCode(page, link);
  await page.fill('#share-password', PASSWORD);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/live/garden/gate/');
  await becomes(page, ['live', 'fallen-back']);
  await moves(page);
  // Again in the same browser: no password, and no second place of one.
  await page.goto(link);
  await page.waitForURL('**/live/garden/gate/');
  const other = await stage.page();
  await other.goto(link);
  await other.fill('#share-password', PASSWORD);
  await other.keyboard.press('Enter');
  await other.waitForSelector('[role=alert]:has-text("As many as may have opened")');

  // Whoever is signed in is asked before that is given up.
  const signedIn = await stage.page();
  await signedIn.goto(server.url(`?token=${server.token('admin')}`, server.ports.http));
  await signedIn.waitForSelector('#camera-select:enabled');
  await signedIn.goto(await made(server, 'shares', { cameras: ['garden/gate', 'zerolatency'] }));
  await signedIn.waitForSelector('text=signed in already');
  await signedIn.click('button:text-is("Open")');
  await signedIn.waitForSelector('nav a:text-is("garden/gate")');
  await signedIn.click('nav a:text-is("zerolatency")');
  await becomes(signedIn, ['live', 'fallen-back']);
  for (const one of [page, other, signedIn]) await isClean(one);
}

/** A page of a link without its link: as after it was loaded anew. */
export async function without_a_link_the_way_to_one_is_said(stage) {
  const server = await stage.server(['--source', 'test']);
  for (const path of ['first-run', 'join', 'shared']) {
    const page = await stage.page();
    await page.goto(server.url(path, server.ports.http));
    await until(`${path} says so`, async () => /needs the link/.test(await page.innerText('h1')));
    await isClean(page);
    await page.close();
  }
}
