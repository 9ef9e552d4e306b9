/** Every screen with something on it, at both sizes, in both themes and both languages: as wide as the screen, sound for who hears it, and a picture for people. */
import { becomes, check, isClean, isSound, moves, pause, until } from './support.mjs';

/** Each theme, size and language is somewhere. `SCREENSHOTS_ALL` takes the other two as well. */
const LOOKS = [
  { name: 'desk', theme: 'dark', language: 'en', options: { viewport: { width: 1_440, height: 900 } } },
  { name: 'phone', theme: 'light', language: 'vi', options: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } },
  ...(process.env.SCREENSHOTS_ALL
    ? [
        { name: 'desk', theme: 'light', language: 'vi', options: { viewport: { width: 1_440, height: 900 } } },
        { name: 'phone', theme: 'dark', language: 'en', options: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } },
      ]
    : []),
];
const CAMERAS = ['zerolatency', 'garden/gate', 'yard'];
/** Below the root, each with what has to be there before it is looked at. */
const PLACES = [
  ['control', '?camera=zerolatency', '#video-stream'],
  ['wall', 'wall', '.tile video'],
  ['timeline', 'timeline', 'canvas'],
  ['events', 'events', 'h1'],
  ['exports', 'exports', 'h1'],
  ['cameras', 'cameras', 'th[scope=row]'],
  ['cameras-add', 'cameras/add', 'h1'],
  ['inspector', 'inspector', 'h2'],
  ['system', 'system', 'h2'],
  ['settings-me', 'settings', 'h2'],
  ['settings-server', 'settings/server', 'h2'],
  ['settings-file', 'settings/file', 'textarea'],
  ['settings-users', 'settings/users', 'h2'],
  ['settings-roles', 'settings/roles', 'h2'],
  ['settings-sessions', 'settings/sessions', 'h2'],
  ['settings-links', 'settings/links', 'h2'],
  ['settings-audit', 'settings/audit', 'h2'],
];
const PASSWORD = 'four words of mine';

async function shoot(page, { name, theme }, screen) {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: `${folder}/${screen}-${name}-${theme}.jpg`, type: 'jpeg', quality: 85 });
}

/** The API, as whoever has the admin's token. */
async function asked(server, method, path, body) {
  const answer = await fetch(server.url(`api/v1/${path}`, server.ports.http), {
    method,
    headers: { authorization: `Bearer ${server.token('admin')}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  check(answer.ok, `${method} ${path}: ${answer.status} ${await answer.text()}`);
}

/** Three cameras that are recorded, and what a household has of people and events. */
async function filled(stage) {
  const server = await stage.server(['--source', 'test']);
  for (const name of CAMERAS.slice(1)) await stage.publisher(server, name, ['--source', name === 'yard' ? 'test:bars' : 'test', '--token', server.token('publisher')]);
  const there = async () => {
    const answer = await fetch(server.url('api/v1/streams', server.ports.http), { headers: { authorization: `Bearer ${server.token('admin')}` } });
    return (await answer.json()).streams.filter(({ state }) => state === 'live').length === CAMERAS.length;
  };
  await until('all cameras are there', there);
  for (const name of CAMERAS) await asked(server, 'POST', `streams/${encodeURIComponent(name)}/recording`);
  for (const [name, role] of [['anna', 'admin'], ['minh', 'operator'], ['oma', 'viewer']]) await asked(server, 'POST', 'users', { name, password: PASSWORD, role });
  await asked(server, 'POST', 'shares', { cameras: ['yard'], hours: 24 });
  for (const [camera, kind] of [['garden/gate', 'motion'], ['zerolatency', 'bell'], ['yard', 'person']]) {
    await asked(server, 'POST', 'recordings/events', { camera, kind, start: Date.now() - 2_000, end: Date.now(), score: 0.7 });
  }
  return server;
}

export async function each_is_sound_at_both_sizes(stage) {
  const server = await filled(stage);
  for (const look of LOOKS) {
    const page = await stage.page(look.options);
    await page.addInitScript(
      ({ theme, language }) => {
        localStorage.setItem('sightline.theme', theme);
        localStorage.setItem('sightline.language', language);
      },
      { theme: look.theme, language: look.language },
    );
    await page.goto(server.url('', server.ports.http));
    await page.waitForSelector('#password');
    await isSound(page, `signing in, ${look.name}`);
    await shoot(page, look, 'sign-in');
    await page.fill('#name', 'anna');
    await page.fill('#password', PASSWORD);
    await page.keyboard.press('Enter');
    await page.waitForSelector('#camera-select:enabled');
    for (const [screen, path, there] of PLACES) {
      await page.goto(server.url(path, server.ports.http));
      await page.waitForSelector(there);
      const theme = await page.evaluate(() => document.documentElement.dataset.theme);
      check(theme === look.theme, `${screen}: ${theme} in place of ${look.theme}`);
      if (screen === 'control') {
        await becomes(page, ['live', 'fallen-back']);
        await moves(page);
      }
      if (screen === 'wall') await until('all tiles play', () => page.evaluate((count) => [...document.querySelectorAll('.tile video')].filter((video) => video.videoWidth > 0).length >= count, CAMERAS.length));
      // Charts and lists fill with the next second's figures.
      await pause(1_500);
      await isSound(page, `${screen}, ${look.name}, ${look.theme}, ${look.language}`);
      await shoot(page, look, screen);
    }
    await isClean(page);
    await page.close();
  }
}
