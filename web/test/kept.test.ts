import { afterEach, expect, it } from 'vitest';
import { Reviewed } from '../src/events/cards';
import { browserKept } from '../src/kept';
import { LocalLayouts } from '../src/wall/layouts';

const before = Object.getOwnPropertyDescriptor(globalThis, 'localStorage');
afterEach(() => {
  if (before) Object.defineProperty(globalThis, 'localStorage', before);
  else Reflect.deleteProperty(globalThis, 'localStorage');
});

it('a browser that keeps nothing of a site has no layouts and nothing that was reviewed', async () => {
  Object.defineProperty(globalThis, 'localStorage', {
    configurable: true,
    get: () => {
      throw new DOMException('denied', 'SecurityError');
    },
  });
  const layouts = new LocalLayouts(browserKept);
  expect(await layouts.list()).toEqual([]);
  await expect(layouts.put('a', { version: 1, tiles: [] } as never)).rejects.toThrow('denied');
  const reviewed = new Reviewed(browserKept);
  reviewed.set(['door@1'], true);
  // As long as the page is open.
  expect(reviewed.has('door@1')).toBe(true);
});
