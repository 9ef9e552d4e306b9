/** Publishing from the page. */
import { PATIENCE_MS, becomes, check, isClean, moves, until } from './support.mjs';

export async function a_camera_of_the_browser(stage) {
  const server = await stage.server(['--open']);
  const page = await stage.page({ permissions: ['camera', 'microphone'] });
  await page.goto(server.url('porch/publish'));
  await page.click('#connect-btn');
  await until('it is on air', async () => (await page.locator('#connection-status').innerText()) === 'On air');
  const viewer = await stage.page();
  await viewer.goto(server.url('porch/'));
  await becomes(viewer, 'live');
  await moves(viewer);
  // The publisher comes back by itself, and with it the picture.
  await server.restart();
  await moves(viewer, PATIENCE_MS);
  check((await page.locator('#connection-status').innerText()) === 'On air', 'the page says that it publishes');
  await becomes(viewer, 'live');
  await page.click('#connect-btn');
  await becomes(viewer, ['held', 'gone']);
  for (const one of [page, viewer]) await isClean(one);
  check((await page.locator('#connection-status').innerText()) === 'Off', 'the camera is off');
}
