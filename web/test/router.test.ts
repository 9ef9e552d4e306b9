import { describe, expect, it } from 'vitest';
import { match, Router, type Browser } from '../src/router';

const SCREENS = [
  { name: 'control', paths: ['/'] },
  { name: 'wall', paths: ['/wall', '/wall/{layout}'] },
  { name: 'settings', paths: ['/settings/{*rest}'] },
] as const;

describe('a path', () => {
  it.each([
    ['/', 'control', {}],
    ['', 'control', {}],
    ['/wall', 'wall', {}],
    ['/wall/', 'wall', {}],
    ['/wall/front%20door', 'wall', { layout: 'front door' }],
    ['/wall/%E0%A4%A', 'wall', { layout: '%E0%A4%A' }],
    ['/settings', 'settings', { rest: '' }],
    ['/settings/users/anna', 'settings', { rest: 'users/anna' }],
  ])('%s is %s', (path, screen, params) => {
    expect(match(SCREENS, path)).toEqual({ screen, params });
  });

  it.each(['/walls', '/wall/a/b', '/live/door/', '/api/v1/streams', '/constructor'])('%s is none of ours', (path) => {
    expect(match(SCREENS, path)).toBeNull();
  });
});

function fake(url: string): Browser & { seen: string[] } {
  let now = new URL(url);
  const seen: string[] = [];
  return {
    seen,
    url: () => now,
    push: (next) => {
      seen.push(`push ${next.href}`);
      now = next;
    },
    replace: (next) => {
      seen.push(`replace ${next.href}`);
      now = next;
    },
    onpop: () => () => undefined,
  };
}

describe('the router', () => {
  it('stays below the root that a proxy gave, and carries the token on', () => {
    const browser = fake('https://cams.example/house/wall?token=s');
    const router = new Router(new URL('https://cams.example/house/'), SCREENS, browser, 's');
    expect(router.here()).toMatchObject({ screen: 'wall', path: '/wall' });
    router.go('/?camera=door');
    expect(browser.seen).toEqual(['push https://cams.example/house/?camera=door&token=s']);
    expect(router.here().query.get('camera')).toBe('door');
    // The same once more is no new step back.
    router.go('/?camera=door');
    expect(browser.seen.at(-1)).toMatch(/^replace/);
    expect(router.href('/wall')).toBe('https://cams.example/house/wall?token=s');
  });

  it('leaves to the browser what is no screen', () => {
    const browser = fake('https://cams.example/house/');
    const router = new Router(new URL('https://cams.example/house/'), SCREENS, browser, null);
    for (const url of ['https://cams.example/house/live/door/', 'https://cams.example/wall', 'https://else.example/house/wall', 'https://cams.example/house/nowhere']) {
      expect(router.follow(new URL(url))).toBe(false);
    }
    expect(router.follow(new URL('https://cams.example/house/wall/x?kiosk=1'))).toBe(true);
    expect(browser.seen).toEqual(['push https://cams.example/house/wall/x?kiosk=1']);
    expect(router.here()).toMatchObject({ screen: 'wall', params: { layout: 'x' } });
  });

  it('says so where no screen is', () => {
    const router = new Router(new URL('http://pi:8000/'), SCREENS, fake('http://pi:8000/nowhere'), null);
    expect(router.here()).toMatchObject({ screen: null, path: '/nowhere' });
  });

  it('never leaves the server, whatever path it is given', () => {
    const browser = fake('http://pi:8000/');
    const router = new Router(new URL('http://pi:8000/'), SCREENS, browser, null);
    for (const path of ['//evil.example/', '///evil.example', '/\\evil.example']) {
      router.go(path);
      expect(browser.url().origin).toBe('http://pi:8000');
    }
  });
});
