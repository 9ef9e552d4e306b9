import { afterEach, describe, expect, it } from 'vitest';
import { problemOf } from '../src/api';
import { legsOf, shares } from '../src/control/legs';
import { draw } from '../src/control/qr';
import { isNotable, MAX_NOTICES, noted } from '../src/feed/notices';
import { says, wrongIs } from '../src/feed/says';
import type { Event } from '../src/feed/values';
import { bitrate, duration, figure, milliseconds, number } from '../src/format';
import type { Report } from '../src/player/latency';
import { Quality } from '../src/quality';
import { find, MAX_FOUND, type Found } from '../src/shell/find';
import { languageOf, speak, t } from '../src/words';
import { en } from '../src/words/en';
import { vi } from '../src/words/vi';

afterEach(() => speak('en'));

const event = (id: number, kind: string, over: object = {}): Event => ({ id, at: '2026-11-23T10:00:00Z', kind, ...over });

describe('the bell', () => {
  it('rings for what somebody should know of', () => {
    expect(isNotable(event(1, 'source.changed', { state: 'failed' }))).toBe(true);
    expect(isNotable(event(1, 'source.changed', { state: 'running' }))).toBe(false);
    expect(isNotable(event(1, 'recording.paused'))).toBe(true);
    expect(isNotable(event(1, 'viewer.joined'))).toBe(false);
  });

  it('keeps fifty, each once, the newest first', () => {
    let all: readonly Event[] = [];
    for (let id = 1; id <= 120; id++) all = noted(all, event(id, 'login.refused'));
    all = noted(all, event(120, 'login.refused'));
    expect([all.length, all[0]?.id, all.at(-1)?.id]).toEqual([MAX_NOTICES, 120, 71]);
  });
});

describe('search', () => {
  const all: Found[] = ['garden/gate', 'front door', 'Gate house', 'cửa trước', 'Đường'].map((name) => ({ kind: 'camera', name, path: `/?camera=${name}` }));
  it.each([
    ['gate', ['Gate house', 'garden/gate']],
    ['door front', ['front door']],
    ['CUA TRUOC', ['cửa trước']],
    ['duong', ['Đường']],
    ['nothing', []],
  ])('of %s', (query, names) => {
    expect(find(query, all).map(({ name }) => name)).toEqual(names);
  });

  it('shows all where nothing is asked, and never more than twenty', () => {
    expect(find('  ', all).length).toBe(5);
    const many = Array.from({ length: 500 }, (_, index): Found => ({ kind: 'camera', name: `c${index}`, path: '/' }));
    expect(find('c', many).length).toBe(MAX_FOUND);
    expect(find('c'.repeat(5_000), many)).toEqual([]);
  });
});

describe('quality', () => {
  const seen = (plan: (ms: number) => number): Quality => {
    const quality = new Quality();
    for (let ms = 0; ms <= 10_000; ms += 250) quality.sample(ms, Math.floor(plan(ms)));
    return quality;
  };

  it('is the share of pictures that were shown', () => {
    expect(seen((ms) => (ms * 30) / 1_000).percent(30)).toBeCloseTo(100, 0);
    expect(seen((ms) => (ms * 15) / 1_000).percent(30)).toBeCloseTo(50, 0);
    // More than the stream has are not more than all.
    expect(seen((ms) => (ms * 31) / 1_000).percent(30)).toBe(100);
  });

  it('is less by ten points for each standstill', () => {
    const still = seen((ms) => (Math.min(ms, 4_000) + Math.max(0, ms - 5_000)) * 0.03);
    expect(still.stills).toBe(1);
    expect(still.percent(30)).toBeCloseTo(80, 0);
    expect(seen(() => 7).percent(30)).toBe(0);
  });

  it('is not known at first, nor where the stream does not say how many it has', () => {
    const quality = new Quality();
    quality.sample(0, 1);
    quality.sample(250, 8);
    expect(quality.percent(30)).toBeNull();
    expect(seen((ms) => ms).percent(null)).toBeNull();
  });
});

describe('legs', () => {
  const report = (since: Report['since']): Report => ({
    nowMs: 40,
    p50Ms: 40,
    p95Ms: 50,
    errorMs: 1,
    since,
    legs: [
      { name: 'camera to server', ms: 12 },
      { name: 'decoding', ms: 4 },
    ],
  });

  it('have the encoder apart where the time is the camera’s own', () => {
    expect(legsOf(report('capture'), 5).map(({ name, ms }) => [name, ms])).toEqual([
      ['encoding', 5],
      ['capture and way to server', 7],
      ['decoding', 4],
    ]);
  });

  it('stay as they are where nobody knows', () => {
    for (const [since, encodeMs] of [['sender', 5], ['capture', null], ['capture', 13], ['capture', 0]] as const) {
      expect(legsOf(report(since), encodeMs)).toEqual(report(since).legs);
    }
  });

  it('that cannot be told apart are one', () => {
    const known = { ...report('capture'), legs: [{ name: 'camera to server', ms: 12 }, { name: 'server to browser', ms: -2 }, { name: 'decoding', ms: 4 }] };
    expect(legsOf(known, null).map(({ name, ms }) => [name, ms])).toEqual([['camera to browser', 10], ['decoding', 4]]);
    expect(legsOf(known, 6).map(({ name, ms }) => [name, ms])).toEqual([['encoding', 6], ['capture and way to browser', 4], ['decoding', 4]]);
  });

  it('are shares of the whole, and none is less than nothing', () => {
    expect(shares([{ name: 'a', ms: 3 }, { name: 'b', ms: -1 }, { name: 'c', ms: 1 }])).toEqual([75, 0, 25]);
    expect(shares([{ name: 'a', ms: 0 }])).toEqual([0]);
  });

  it('all have words in each language', () => {
    for (const name of Object.keys(en.player.legs)) expect(vi.player.legs[name]).toBeTruthy();
    for (const kind of Object.keys(en.control.events)) expect(vi.control.events[kind]).toBeTruthy();
  });
});

describe('words', () => {
  it('are those of the first language that is known', () => {
    expect(languageOf(['fr-FR', 'vi-VN', 'en'])).toBe('vi');
    expect(languageOf(['fr'])).toBe('en');
    expect(languageOf(['constructor', '__proto__'])).toBe('en');
  });

  it('change with the language, and figures with them', async () => {
    expect(t.shell.connected).toBe('Connected');
    expect(number(1_234.5, 1)).toBe('1,234.5');
    await speak('vi');
    expect(t.shell.connected).toBe('Đã kết nối');
    expect(number(1_234.5, 1)).toBe('1.234,5');
  });

  it('say what is wrong in the language of the page, and in the server’s where it has none', async () => {
    const offline = { code: 'offline', text: 'nobody publishes it' };
    expect(wrongIs(offline)).toBe('nobody publishes it');
    await speak('vi');
    expect(wrongIs(offline)).toBe('không có ai phát');
    expect(wrongIs({ code: 'recording-paused', text: 'its recording is paused: disk: full' })).toBe('việc ghi đang tạm dừng: disk: full');
    expect(wrongIs({ code: 'new', text: 'something else' })).toBe('something else');
    await speak('en');
  });

  it('say what happened, also of what nobody has words for', () => {
    expect(says(event(1, 'recording.paused', { stream: 'door', reason: 'the disk is full' }))).toBe('door: recording is paused: The disk is full.');
    expect(says(event(1, 'moon.rose', { stream: 'door' }))).toBe('moon.rose (door)');
  });
});

describe('figures', () => {
  it('are as people read them', () => {
    expect([figure(null, 1), figure(Number.NaN, 0), figure(3, 1)]).toEqual(['–', '–', '3.0']);
    expect([milliseconds(9.94), milliseconds(12.6), milliseconds(1_234)]).toEqual(['9.9 ms', '13 ms', '1,234 ms']);
    expect([bitrate(999), bitrate(2_011)]).toEqual(['999 kb/s', '2.0 Mb/s']);
    expect([duration(7_000), duration(3_723_000), duration(-5)]).toEqual(['0:07', '1:02:03', '0:00']);
  });
});

it('a refusal is told in the server’s words, or by its number', () => {
  expect(problemOf(409, 'Conflict', '{"detail":"another file","code":"recording-already","next":"end it"}')).toMatchObject({ status: 409, code: 'recording-already', message: 'another file; end it' });
  expect(problemOf(502, 'Bad Gateway', '<html>')).toMatchObject({ code: '', message: 'the server answered 502 Bad Gateway' });
});

it('a QR code is one path, with four modules of nothing around it', () => {
  expect(draw(['101', '011', '000'])).toEqual({ side: 11, path: 'M4 4h1v1h-1zM6 4h1v1h-1zM5 5h2v1h-2z' });
});
