/** The screens below /settings: the server's settings, accounts, one's own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, isClean, until } from './support.mjs';

const PASSWORD = 'four words of mine';
const SIZES = [
  { viewport: { width: 1_440, height: 900 } },
  { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
];
const PLACES = ['me', 'server', 'file', 'users', 'roles', 'sessions', 'tokens', 'links', 'audit'];

async function shoot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
}

/** The API, as whoever has the admin's token. */
async function asked(server, method, path, body) {
  const answer = await fetch(server.url(`api/v1/${path}`, server.ports.http), {
    method,
    headers: { authorization: `Bearer ${server.token('admin')}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await answer.text();
  check(answer.ok, `${method} ${path}: ${text}`);
  return text === '' ? null : JSON.parse(text);
}

async function addUser(server, name, role) {
  await asked(server, 'POST', 'users', { name, password: PASSWORD, role });
}

async function signedIn(stage, server, name, options = {}, path = 'settings') {
  const page = await stage.page(options);
  await page.goto(server.url(path, server.ports.http));
  await page.fill('#name', name);
  await page.fill('#password', PASSWORD);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.settings h2');
  return page;
}

async function fits(page, what) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(over <= 0, `${what} is ${over} pixels too wide`);
}

const settled = (page) => until('nothing is on its way', async () => (await page.locator('.settings .body h2').count()) > 0 && !/Loading…|Đang tải…/.test(await page.innerText('.settings .body')));
const fileOf = (server) => readFileSync(join(server.folder, 'state', 'sightline.toml'), 'utf8');
const goTo = async (page, server, path) => {
  await page.goto(server.url(`settings/${path}`, server.ports.http));
  await settled(page);
};

export async function a_setting_is_changed_by_its_form(stage) {
  const server = await stage.server(['--source', 'test']);
  await addUser(server, 'anna', 'admin');
  const page = await signedIn(stage, server, 'anna');
  await goTo(page, server, 'server?section=limits');
  const hold = page.locator('[data-key="limits.hold"]');
  check(/Default: 5s/.test(await hold.innerText()), await hold.innerText());
  check(/for what begins from now on/.test(await hold.innerText()), 'when it takes effect is said');

  // What is wrong is said at its field, which has the focus.
  await hold.locator('input').fill('soon');
  await page.keyboard.press('Tab');
  await page.click('.bar button:text-is("Review changes")');
  await until('its field says what is wrong', async () => /time span/.test(await hold.locator('.bad').innerText()));
  check((await hold.locator('input').getAttribute('aria-invalid')) === 'true', 'and is marked');
  check(await hold.locator('input').evaluate((input) => input === document.activeElement), 'and has the focus');

  await hold.locator('input').fill('8s');
  await page.keyboard.press('Tab');
  await page.click('.bar button:text-is("Review changes")');
  const dialog = page.locator('dialog[open]');
  await until('the difference is shown', async () => /limits\.hold[\s\S]*5s[\s\S]*8s/.test(await dialog.innerText()));
  check((await asked(server, 'GET', 'config')).settings.limits.hold === '5s', 'nothing is applied yet');
  await shoot(page, 'settings-diff-1440-dark');
  await dialog.locator('button:text-is("Apply")').click();
  await page.waitForSelector('.bar button:text-is("Undo")');
  check((await asked(server, 'GET', 'config')).settings.limits.hold === '8s', 'it is in force');
  check(/hold = "8s"/.test(fileOf(server)), fileOf(server));
  await page.click('.bar button:text-is("Undo")');
  await until('it is as before', async () => (await asked(server, 'GET', 'config')).settings.limits.hold === '5s');

  // Found by a word, and a stream's table is added by its name.
  await page.fill('input[type=search]', 'segment count');
  await page.waitForSelector('[data-key="hls.segment_count"]');
  await page.fill('input[type=search]', '');
  await goTo(page, server, 'server?section=stream');
  await page.fill('.tables form input', 'yard');
  await page.keyboard.press('Enter');
  await page.check('[data-key="stream.yard.always_available"] input');
  await page.click('.bar button:text-is("Review changes")');
  await page.click('dialog[open] button:text-is("Apply")');
  await until('the stream is in the file', () => /\[stream\.yard\]\nalways_available = true/.test(fileOf(server)));
  await isClean(page);
}

export async function the_file_is_changed_as_text(stage) {
  const server = await stage.server(['--source', 'test']);
  await addUser(server, 'anna', 'admin');
  await asked(server, 'PATCH', 'config', { stream: { yard: { source: 'rtsp://me:canary-password@127.0.0.1:9/a' } } });
  const page = await signedIn(stage, server, 'anna');
  await goTo(page, server, 'file');
  const area = page.locator('.editor textarea');
  const text = await area.inputValue();
  check(text.includes('rtsp://***@127.0.0.1:9/a') && !text.includes('canary'), text);
  await area.fill(`${text}[log\n`);
  await page.click('.bar button:text-is("Review changes")');
  const line = text.split('\n').length;
  await page.waitForSelector(`.faults button:text-is("Line ${line}")`);
  await shoot(page, 'settings-file-wrong-1440-dark');
  // A password does not go where it was not.
  await area.fill(text.replace('127.0.0.1:9', '127.0.0.2:9'));
  await page.click('.bar button:text-is("Review changes")');
  await until('it is refused', async () => /no user and password are known/i.test(await page.innerText('.faults')));
  await area.fill(`${text}[log]\nlevel = "debug"\n`);
  await page.click('.bar button:text-is("Review changes")');
  const dialog = page.locator('dialog[open]');
  await until('lines and settings are shown', async () => /\+ level = "debug"[\s\S]*log\.level/.test(await dialog.innerText()));
  await shoot(page, 'settings-file-diff-1440-dark');
  await dialog.locator('button:text-is("Apply")').click();
  await until('it is in force', async () => (await asked(server, 'GET', 'config')).settings.log.level === 'debug');
  check(fileOf(server).includes('me:canary-password@127.0.0.1:9'), 'the password is where it was');
  await isClean(page);
}

export async function a_user_comes_and_goes(stage) {
  const server = await stage.server(['--source', 'test']);
  await addUser(server, 'anna', 'admin');
  const page = await signedIn(stage, server, 'anna');
  await goTo(page, server, 'users');
  await page.click('.head button:text-is("Add a user")');
  const dialog = page.locator('dialog[open]');
  await dialog.locator('input').nth(0).fill('ben');
  await dialog.locator('input').nth(1).fill('password123');
  await dialog.locator('button:text-is("Add a user")').click();
  await until('the weak password is refused at its field', async () => /everybody tries/.test(await dialog.locator('[role=alert]').innerText()));
  await dialog.locator('input').nth(1).fill(PASSWORD);
  await dialog.locator('button:text-is("Add a user")').click();
  await page.waitForSelector('td:has-text("ben")');

  const ben = await signedIn(stage, server, 'ben');
  check(new URL(ben.url()).pathname === '/settings/me', ben.url());
  check((await ben.locator('.places a').count()) === 1, 'only what is his');
  await until('he is greeted', async () => /Signed in as ben, Viewer/.test(await ben.innerText('.settings')));
  // An admin's page is none of his.
  const refused = await ben.goto(server.url('settings/users', server.ports.http));
  check(refused.status() === 403, `${refused.status()}`);
  await ben.goto(server.url('settings/me', server.ports.http));
  await settled(ben);
  await page.click('button[aria-label="Disable: ben"]');
  await page.click('dialog[open] button:text-is("Disable")');
  await page.waitForSelector('.tag.off:text-is("Disabled")');
  await ben.waitForSelector('dialog:modal[aria-labelledby=signed-out]');
  await page.click('button[aria-label="Remove ben"]');
  await page.click('dialog[open] button:text-is("Remove")');
  await until('he is gone', async () => (await page.locator('td:has-text("ben")').count()) === 0);
  await goTo(page, server, 'audit');
  await until('what was done is written down', async () => (await page.locator('.list tbody tr').count()) > 3);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('button:text-is("Save as CSV")')]);
  const csv = readFileSync(await download.path(), 'utf8');
  check(csv.startsWith('at,who,remote,action,object,detail,result,times\r\n') && csv.includes('ben'), csv.slice(0, 500));
  await isClean(page);
}

export async function a_token_is_made_shown_once_and_revoked(stage) {
  const server = await stage.server(['--source', 'test']);
  await addUser(server, 'anna', 'admin');
  const page = await signedIn(stage, server, 'anna', {}, 'settings/me');
  await page.click('button:text-is("Make a token")');
  const dialog = page.locator('dialog[open]');
  await dialog.locator('input').first().fill('doorbell');
  await dialog.locator('button:text-is("Make a token")').click();
  const once = page.locator('dialog[open] .once input');
  await once.waitFor();
  const token = await once.inputValue();
  check(/^slt_/.test(token), token);
  const streams = () => fetch(server.url('api/v1/streams', server.ports.http), { headers: { authorization: `Bearer ${token}` } });
  check((await streams()).status === 200, 'it lets in');
  await page.click('dialog[open] button:text-is("Done")');
  check(!(await page.content()).includes(token), 'it is not on the page any more');
  await page.click('button[aria-label="Revoke doorbell"]');
  await page.click('dialog[open] button:text-is("Revoke")');
  await until('it is refused', async () => (await streams()).status === 401);

  // What one wants of the page is there in another browser, before any script runs.
  await page.selectOption('.look select >> nth=0', 'light');
  await page.selectOption('.look select >> nth=2', 'wall');
  await page.selectOption('.look select >> nth=1', 'vi');
  await until('it is Vietnamese', async () => (await page.innerText('h1')) === 'Cài đặt');
  await until('the server keeps it', async () => {
    const kept = await page.evaluate(async () => (await fetch('/api/v1/me/preferences')).json());
    return kept.theme === 'light' && kept.start === 'wall' && kept.language === 'vi';
  });
  const other = await signedIn(stage, server, 'anna', {}, 'settings/me');
  const html = await other.evaluate(async () => (await fetch(location.href)).text());
  check(html.includes('<html lang="vi" data-theme="light">'), html.slice(0, 200));
  await other.goto(server.url('', server.ports.http));
  await until('the wall comes first', () => new URL(other.url()).pathname === '/wall');
  for (const one of [page, other]) await isClean(one);
}

export async function settings_fit_both_sizes_in_both_themes(stage) {
  const server = await stage.server(['--source', 'test']);
  await addUser(server, 'anna', 'admin');
  await addUser(server, 'ben', 'viewer');
  await asked(server, 'POST', 'users/anna/tokens', { name: 'doorbell', rights: 'view zerolatency' });
  await asked(server, 'POST', 'invitations', { role: 'viewer' });
  await asked(server, 'POST', 'shares', { cameras: ['zerolatency'], password: PASSWORD });
  await asked(server, 'PUT', 'roles/night', { rights: 'view,replay ~^yard/' });
  for (const options of SIZES) {
    const page = await signedIn(stage, server, 'anna', options);
    for (const theme of ['dark', 'light']) {
      await goTo(page, server, 'me');
      await page.selectOption('.look select >> nth=0', 'system');
      await page.selectOption('.look select >> nth=0', theme);
      await until('the server keeps it', () => page.evaluate(async (wanted) => (await (await fetch('/api/v1/me/preferences')).json()).theme === wanted, theme));
      for (const place of PLACES) {
        await goTo(page, server, place);
        check((await page.evaluate(() => document.documentElement.dataset.theme)) === theme, `${place} is ${theme}`);
        await fits(page, `${place} at ${options.viewport.width}`);
        check((await page.locator('h1').count()) === 1, `${place} has one heading`);
        await shoot(page, `settings-${place}-${options.viewport.width}-${theme}`);
      }
      await goTo(page, server, 'links');
      await page.click('.head button.primary');
      await page.click('dialog[open] button:text-is("Make the link")');
      await page.waitForSelector('dialog[open] svg.qr');
      await fits(page, 'the link');
      await shoot(page, `settings-link-${options.viewport.width}-${theme}`);
      await page.click('dialog[open] button:text-is("Done")');
    }
    if (options.isMobile) {
      await page.setViewportSize({ width: 320, height: 640 });
      for (const place of PLACES) {
        await goTo(page, server, place);
        await fits(page, `${place} at 320`);
      }
    }
    await isClean(page);
    await page.close();
  }
}
