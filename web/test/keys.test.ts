import { describe, expect, it } from 'vitest';
import { ariaOf, Keys, nameOf } from '../src/keys';

interface Press {
  key: string;
  shiftKey?: boolean;
  ctrlKey?: boolean;
  altKey?: boolean;
  metaKey?: boolean;
  on?: string;
}

/** As the browser tells it; `on` is what has the focus. */
function press({ on, ...keys }: Press): KeyboardEvent & { prevented: boolean } {
  const target = on === undefined ? null : { closest: (selector: string) => (selector.split(', ').includes(on) ? {} : null) };
  const event = { shiftKey: false, ctrlKey: false, altKey: false, metaKey: false, ...keys, target, prevented: false, preventDefault: () => (event.prevented = true) };
  return event as unknown as KeyboardEvent & { prevented: boolean };
}

describe('a key', () => {
  it.each([
    [{ key: 's' }, 's'],
    [{ key: 'S' }, 's'],
    [{ key: 'R', shiftKey: true }, 'Shift+R'],
    [{ key: '?', shiftKey: true }, '?'],
    [{ key: ' ' }, 'Space'],
    [{ key: 'a', ctrlKey: true }, 'Ctrl+a'],
    [{ key: 'a', metaKey: true }, 'Ctrl+a'],
    [{ key: 'ArrowLeft', shiftKey: true }, 'Shift+ArrowLeft'],
  ])('%j is %s', (event, name) => {
    expect(nameOf(press(event))).toBe(name);
  });

  it('is named to who uses no eyes, unless it is two', () => {
    expect(ariaOf('Ctrl+a')).toBe('Control+a');
    expect(ariaOf('g w')).toBeUndefined();
  });
});

function begun() {
  let nowMs = 0;
  const keys = new Keys(() => nowMs);
  const done: string[] = [];
  const does = (what: string) => [() => done.push(what), what] as const;
  return { keys, done, does, passes: (ms: number) => (nowMs += ms) };
}

describe('keys', () => {
  it('mean what was bound last, and nothing once it is over', () => {
    const { keys, done, does } = begun();
    keys.bind('everywhere', { s: does('search') });
    const end = keys.bind('control', { s: does('snapshot') });
    expect(keys.all().map(({ screen }) => screen)).toEqual(['control', 'everywhere']);
    keys.pressed(press({ key: 's' }));
    end();
    const event = press({ key: 's' });
    expect(keys.pressed(event)).toBe(true);
    expect(event.prevented).toBe(true);
    expect(done).toEqual(['snapshot', 'search']);
    expect(keys.pressed(press({ key: 'x' }))).toBe(false);
  });

  it('are left to fields, but for Escape', () => {
    const { keys, done, does } = begun();
    keys.bind('x', { s: does('s'), Space: does('space'), 'Ctrl+a': does('all'), Escape: does('back'), ArrowUp: does('up') });
    for (const on of ['input', 'textarea', 'select']) {
      expect(keys.pressed(press({ key: 's', on }))).toBe(false);
      expect(keys.pressed(press({ key: 'ArrowUp', on }))).toBe(false);
    }
    expect(keys.pressed(press({ key: ' ', on: 'button' }))).toBe(false);
    expect(keys.pressed(press({ key: 's', on: 'button' }))).toBe(true);
    // It selects what is written there.
    expect(keys.pressed(press({ key: 'a', ctrlKey: true, on: 'input' }))).toBe(false);
    expect(keys.pressed(press({ key: 'a', ctrlKey: true }))).toBe(true);
    expect(keys.pressed(press({ key: 'Escape', on: 'input' }))).toBe(true);
    expect(done).toEqual(['s', 'all', 'back']);
  });

  it('go on where a slider has the focus', () => {
    const { keys, done, does } = begun();
    keys.bind('timeline', { Space: does('play') });
    expect(keys.pressed(press({ key: ' ', on: '[role=slider]' }))).toBe(true);
    expect(done).toEqual(['play']);
  });

  it('may be two, if the second comes soon', () => {
    const { keys, done, does, passes } = begun();
    keys.bind('x', { 'g w': does('wall'), w: does('w') });
    keys.pressed(press({ key: 'g' }));
    passes(1_000);
    keys.pressed(press({ key: 'w' }));
    keys.pressed(press({ key: 'g' }));
    passes(2_000);
    keys.pressed(press({ key: 'w' }));
    keys.pressed(press({ key: 'g' }));
    keys.pressed(press({ key: 'x' }));
    keys.pressed(press({ key: 'w' }));
    expect(done).toEqual(['wall', 'w', 'w']);
  });

  it('of one letter can be switched off', () => {
    const { keys, done, does } = begun();
    keys.bind('x', { s: does('s'), 'Shift+R': does('R'), '+': does('more'), Escape: does('back'), ArrowLeft: does('left'), 'Shift+ArrowLeft': does('wider'), Space: does('play'), Home: does('first'), 'Ctrl+a': does('all') });
    keys.letters = false;
    for (const key of [{ key: 's' }, { key: 'R', shiftKey: true }, { key: '+' }, { key: '+', shiftKey: true }]) expect(keys.pressed(press(key))).toBe(false);
    for (const key of [{ key: 'Escape' }, { key: 'ArrowLeft' }, { key: 'ArrowLeft', shiftKey: true }, { key: ' ' }, { key: 'Home' }, { key: 'a', ctrlKey: true }]) {
      expect(keys.pressed(press(key))).toBe(true);
    }
    expect(done).toEqual(['back', 'left', 'wider', 'play', 'first', 'all']);
  });
});
