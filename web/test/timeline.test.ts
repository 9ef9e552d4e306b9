import { describe, expect, it } from 'vitest';
import { axis, GREATEST_SPAN_MS, LEAST_SPAN_MS, LEVELS, panned, stepMs, windowMs, windowSpan, WINDOW_STEPS, zoomed } from '../src/timeline/axis';
import { mediaAt, wallAt, type Piece } from '../src/timeline/pieces';
import { Leader, nextRate, RATES, steer } from '../src/timeline/steer';
import { MAX_SPRITES, spriteMs, spriteOf, Sprites, SPRITES_MS, tileAt } from '../src/timeline/strips';
import { isToTryAgain } from '../src/timeline/track';
import { AGAIN_MS, MAX_BYTES, MAX_WINDOWS, Windows, type Window } from '../src/timeline/windows';
import { Zone } from '../src/timeline/zone';
import { random } from './random';

const HOUR = 3_600_000;
const utc = new Zone('UTC');
const berlin = new Zone('Europe/Berlin');

function spans(): { from: number; to: number; width: number }[] {
  const next = random(3);
  return Array.from({ length: 400 }, (_, index) => {
    const length = LEAST_SPAN_MS * (GREATEST_SPAN_MS / LEAST_SPAN_MS) ** (index / 399);
    const from = Date.UTC(2026, 0) + next() * 365 * 24 * HOUR;
    return { from, to: from + length, width: 300 + next() * 2_000 };
  });
}

describe('axis', () => {
  it('goes there and back within a pixel, and never backwards', () => {
    const next = random(5);
    for (const { from, to, width } of spans()) {
      const of = axis({ from, to }, width);
      let before = Number.NEGATIVE_INFINITY;
      for (const share of Array.from({ length: 20 }, next).sort((a, b) => a - b)) {
        const at = from + share * (to - from);
        expect(Math.abs(of.toTime(of.toX(at)) - at)).toBeLessThanOrEqual((to - from) / width);
        expect(of.toX(at)).toBeGreaterThanOrEqual(before);
        before = of.toX(at);
      }
      expect(of.toX(from)).toBeCloseTo(0);
      expect(of.toX(to)).toBeCloseTo(width);
    }
  });

  it('has a level for each zoom, whose windows hold all of the view', () => {
    const levels = new Set<number>();
    for (const { from, to, width } of spans()) {
      const { level, windows, stepMs: step } = axis({ from, to }, width);
      levels.add(level);
      expect(step).toBe(stepMs(level));
      // A step is a pixel to two.
      if (level > 0 && level < LEVELS - 1) expect(step / ((to - from) / width)).toSatisfy((pixels: number) => pixels >= 1 && pixels < 2);
      expect(windowSpan(level, windows[0] ?? 0).from).toBeLessThanOrEqual(from);
      expect(windowSpan(level, windows.at(-1) ?? 0).to).toBeGreaterThanOrEqual(to);
      if (level < LEVELS - 1) expect(windows.length).toBeLessThanOrEqual(Math.ceil(width / WINDOW_STEPS) + 1);
    }
    expect(levels.size).toBeGreaterThanOrEqual(LEVELS - 2);
  });

  it('has 21 levels, 4 ms to 70 minutes', () => {
    expect(stepMs(0)).toBe(4);
    expect(stepMs(LEVELS - 1) / 60_000).toBeCloseTo(69.9, 1);
    expect(axis({ from: 0, to: 70 * 24 * HOUR }, 1_440).windows.length).toBeLessThanOrEqual(4);
    expect(windowMs(0)).toBe(2_048);
  });

  it('keeps what is under the cursor there when it is zoomed', () => {
    for (const span of spans()) {
      const around = span.from + 0.3 * (span.to - span.from);
      const next = zoomed(span, 0.8, around);
      expect((around - next.from) / (next.to - next.from)).toBeCloseTo(0.3, 6);
      expect(next.to - next.from).toBeGreaterThanOrEqual(LEAST_SPAN_MS);
    }
    expect(zoomed({ from: 0, to: HOUR }, 1e9, 0)).toEqual({ from: 0, to: GREATEST_SPAN_MS });
    expect(panned({ from: HOUR, to: 2 * HOUR }, -3 * HOUR)).toEqual({ from: 0, to: HOUR });
  });
});

describe('ticks', () => {
  it('are in order, apart enough to be read, and some', () => {
    for (const zone of [utc, berlin, new Zone('Asia/Kathmandu'), new Zone('America/St_Johns')]) {
      for (const { from, to, width } of spans()) {
        const of = axis({ from, to }, width);
        const ticks = of.ticks(zone, 'en');
        if (width > 400) expect([ticks.length > 0, zone.name, from, to, width]).toEqual([true, zone.name, from, to, width]);
        expect(ticks.length).toBeLessThanOrEqual(width / 30);
        for (const [index, { at }] of ticks.entries()) {
          expect(at >= from && at <= to).toBe(true);
          const before = ticks[index - 1];
          // An hour may be missing in between when clocks are set.
          if (before) expect(of.toX(at) - of.toX(before.at)).toBeGreaterThan(40);
        }
      }
    }
  });

  it('stay where they are when the view moves', () => {
    const at = Date.UTC(2026, 10, 23);
    for (const length of [HOUR, 24 * HOUR, 20 * 24 * HOUR]) {
      const of = (shift: number) => axis({ from: at + shift, to: at + shift + length }, 1_200).ticks(berlin, 'en').map((tick) => tick.at);
      const [one, other] = [of(0), of(length / 3)];
      const both = one.filter((tick) => tick >= at + length / 3);
      expect(other.slice(0, both.length)).toEqual(both);
    }
  });

  const hours = (from: number, length: number): string[] => axis({ from, to: from + length }, 1_440).ticks(berlin, 'en').map(({ text }) => text);

  it('know an hour that comes twice', () => {
    // 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
    const found = hours(Date.UTC(2026, 9, 24, 22), 7 * HOUR).filter((text) => !text.endsWith(':30'));
    expect(found).toEqual(['Sun, Oct 25', '01:00', '02:00', '02:00', '03:00', '04:00', '05:00', '06:00']);
  });

  it('know one that does not come', () => {
    // 2026-03-29: 02:00 becomes 03:00.
    const found = hours(Date.UTC(2026, 2, 28, 23), 8 * HOUR);
    expect(found).toContain('01:00');
    expect(found).toContain('03:00');
    expect(found.filter((text) => text.startsWith('02'))).toEqual([]);
  });

  it('begin days at midnight, whatever the clock does', () => {
    const of = axis({ from: Date.UTC(2026, 9, 20), to: Date.UTC(2026, 9, 30) }, 1_440).ticks(berlin, 'en');
    expect(of.map(({ at }) => new Date(at).toISOString().slice(11, 16))).toEqual([...Array(5).fill('22:00'), ...Array(5).fill('23:00')].slice(0, of.length));
  });
});

describe('zone', () => {
  it('finds the instant that a clock shows', () => {
    for (const name of ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'America/Sao_Paulo']) {
      const zone = new Zone(name);
      const next = random(11);
      for (let round = 0; round < 300; round++) {
        const at = Math.floor(Date.UTC(2018, 0) + next() * 9 * 365 * 24 * HOUR);
        const found = zone.instant(at + zone.offsetMs(at));
        // An hour that comes twice has two of them.
        expect([0, HOUR, HOUR / 2]).toContain(at - found);
      }
    }
  });

  it('has days of 23 and 25 hours', () => {
    const length = (day: number): number => (berlin.day(day, 1) - berlin.day(day)) / HOUR;
    expect([Date.UTC(2026, 2, 29, 12), Date.UTC(2026, 9, 25, 12), Date.UTC(2026, 5, 1, 12)].map(length)).toEqual([23, 25, 24]);
  });

  it('gives the end of a gap for what its clock never shows', () => {
    // Midnight of 2018-11-04 was 01:00 in São Paulo.
    expect(new Date(new Zone('America/Sao_Paulo').instant(Date.UTC(2018, 10, 4))).toISOString()).toBe('2018-11-04T03:00:00.000Z');
  });
});

describe('windows', () => {
  const window = (index: number, more: Partial<Window> = {}): Window => ({ camera: 'door', layer: 'ranges', level: 10, index, ...more });
  const past = 1_000;
  const nowMs = windowSpan(10, past + 500).from;

  it('keeps 64 of a layer, those that were used last', () => {
    const windows = new Windows<number>();
    for (let index = 0; index < MAX_WINDOWS; index++) windows.set(window(index), index, 10, 0);
    expect(windows.get(window(0))).toBe(0);
    windows.set(window(500), 500, 10, 0);
    expect(windows.get(window(0))).toBe(0);
    expect(windows.get(window(1))).toBeNull();
    windows.set(window(0, { layer: 'motion' }), 7, 10, 0);
    expect(windows.size().windows).toBe(MAX_WINDOWS + 1);
  });

  it('keeps 8 MB of a layer, and the newest in any case', () => {
    const windows = new Windows<number>();
    for (let index = 0; index < 20; index++) windows.set(window(index), index, MAX_BYTES / 8, 0);
    expect(windows.size()).toEqual({ windows: 8, bytes: MAX_BYTES });
    windows.set(window(99), 99, 2 * MAX_BYTES, 0);
    expect(windows.get(window(99))).toBe(99);
    expect(windows.size().windows).toBe(1);
  });

  it('asks once for what is past', () => {
    const windows = new Windows<number>();
    expect(windows.isDue(window(past), nowMs)).toBe(true);
    windows.set(window(past), 1, 10, nowMs);
    expect(windows.isDue(window(past), nowMs + HOUR)).toBe(false);
  });

  it('asks again for what goes on, every five seconds at the most', () => {
    const windows = new Windows<number>();
    const open = window(past + 500);
    windows.set(open, 1, 10, nowMs);
    expect(windows.isDue(open, nowMs + AGAIN_MS - 1)).toBe(false);
    expect(windows.isDue(open, nowMs + AGAIN_MS)).toBe(true);
  });

  it('asks again for what was over only by a moment', () => {
    const windows = new Windows<number>();
    const { to } = windowSpan(10, past);
    windows.set(window(past), 1, 10, to + 1_000);
    expect(windows.isDue(window(past), to + 10_000)).toBe(true);
    windows.set(window(past), 1, 10, to + 60_000);
    expect(windows.isDue(window(past), to + 120_000)).toBe(false);
  });

  it('asks again where something was deleted', () => {
    const windows = new Windows<number>();
    windows.set(window(past), 1, 10, nowMs);
    windows.set(window(past + 1), 1, 10, nowMs);
    windows.set(window(past, { camera: 'yard' }), 1, 10, nowMs);
    windows.happened('door', { from: windowSpan(10, past).from + 5, to: windowSpan(10, past).from + 6 });
    const due = [window(past), window(past + 1), window(past, { camera: 'yard' })].map((one) => windows.isDue(one, nowMs + HOUR));
    expect(due).toEqual([true, false, false]);
    expect(windows.get(window(past))).toBe(1);
  });

  it('asks once for what is still to come', () => {
    const windows = new Windows<number>();
    windows.set(window(past + 502), 1, 10, nowMs);
    expect(windows.isDue(window(past + 502), nowMs + HOUR / 60)).toBe(false);
  });
});

describe('steer', () => {
  const at = 1_000_000;
  it('lets what is in step go on', () => {
    expect(steer({ wallMs: at - 30, pictureMs: 33 }, at, 1)).toEqual({ kind: 'rate', rate: 1 });
  });
  it('is 5 % faster or slower for more than a picture', () => {
    expect(steer({ wallMs: at - 100, pictureMs: 33 }, at, 1)).toEqual({ kind: 'rate', rate: 1.05 });
    expect(steer({ wallMs: at + 100, pictureMs: 33 }, at, 2)).toEqual({ kind: 'rate', rate: 1.9 });
  });
  it('seeks beyond half a second', () => {
    expect(steer({ wallMs: at - 501, pictureMs: 33 }, at, 1)).toEqual({ kind: 'seek', toMs: at });
    expect(steer({ wallMs: at - 700, pictureMs: 33 }, at, 4)).toEqual({ kind: 'rate', rate: 4.2 });
  });
  it('seeks to the very picture while it stands', () => {
    expect(steer({ wallMs: at - 100, pictureMs: 33 }, at, 0)).toEqual({ kind: 'seek', toMs: at });
    expect(steer({ wallMs: at - 20, pictureMs: 33 }, at, 0)).toEqual({ kind: 'rate', rate: 0 });
  });
  it('two that are off come together', () => {
    let [a, b, wall] = [at - 400, at + 300, at];
    for (let tick = 0; tick < 200; tick++) {
      const step = (wallMs: number): number => {
        const order = steer({ wallMs, pictureMs: 40 }, wall, 1);
        return order.kind === 'seek' ? order.toMs : wallMs + 50 * order.rate;
      };
      [a, b, wall] = [step(a), step(b), wall + 50];
    }
    expect(Math.abs(a - b)).toBeLessThanOrEqual(80);
  });
  it('has a leader that goes on at its rate', () => {
    const leader = new Leader(at, 0);
    expect(leader.at(500)).toBe(at);
    leader.run(true, 1_000);
    expect(leader.at(1_500)).toBe(at + 500);
    leader.rate(4, 2_000);
    expect(leader.at(3_000)).toBe(at + 5_000);
    leader.run(false, 3_000);
    expect(leader.at(9_000)).toBe(at + 5_000);
  });
  it('knows the next rate', () => {
    expect([nextRate(1, 1), nextRate(1, -1), nextRate(16, 1), nextRate(0.25, -1), nextRate(99, -1)]).toEqual([2, 0.5, 16, 0.25, 8]);
    expect(RATES).toContain(1);
  });
});

describe('pieces', () => {
  const pieces: Piece[] = [
    { start: 0, duration: 6, programDateTime: 100_000 },
    { start: 6, duration: 6, programDateTime: 106_000 },
    // A gap of 48 seconds.
    { start: 12, duration: 6, programDateTime: 160_000 },
  ];
  it('tell where an instant is, and back', () => {
    for (const at of [100_000, 103_500, 106_000, 111_990, 160_001, 165_900]) {
      const found = mediaAt(pieces, at);
      expect(found?.goesOnMs).toBeNull();
      expect(wallAt(pieces, found?.mediaS ?? -1)).toBeCloseTo(at, 3);
    }
  });
  it('go on behind a gap', () => {
    expect(mediaAt(pieces, 120_000)).toEqual({ mediaS: 12, goesOnMs: 160_000 });
    expect(mediaAt(pieces, 50_000)).toEqual({ mediaS: 0, goesOnMs: 100_000 });
  });
  it('end', () => {
    expect(mediaAt(pieces, 166_001)).toBeNull();
    expect(mediaAt([], 1)).toBeNull();
    expect(wallAt([], 1)).toBeNull();
  });
});

describe('strips', () => {
  const headers = (all: Record<string, string>) => ({ get: (name: string) => all[name] ?? null });
  const told = { 'x-tile-size': '160x90', 'x-tile-columns': '10', 'x-tile-times': '0,1000,2000', 'x-capture-time': '2026-11-22T19:15:00Z' };

  it('are read from their fields', () => {
    const sprite = spriteOf(headers(told), 'p');
    expect(sprite?.times[2]).toBe(Date.parse('2026-11-22T19:15:02Z'));
    for (const [name] of Object.entries(told)) expect(spriteOf(headers({ ...told, [name]: 'x' }), 'p')).toBeNull();
  });

  it('show the newest in front of an instant', () => {
    const sprite = { picture: 'p', width: 10, height: 5, columns: 2, times: [100, 200, 300] };
    expect([50, 100, 250, 999].map((at) => tileAt(sprite, at))).toEqual([
      { x: 0, y: 0, at: 100 },
      { x: 0, y: 0, at: 100 },
      { x: 10, y: 0, at: 200 },
      { x: 0, y: 5, at: 300 },
    ]);
    expect(tileAt({ ...sprite, times: [] }, 5)).toBeNull();
  });

  it('are kept sixteen at a time, and closed when they go', () => {
    const closed: string[] = [];
    const sprites = new Sprites<string>((picture) => closed.push(picture));
    for (let index = 0; index <= MAX_SPRITES; index++) sprites.set(`${index}`, { picture: `${index}`, width: 1, height: 1, columns: 1, times: [0] });
    expect(closed).toEqual(['0']);
    sprites.set('1', null);
    expect(closed).toEqual(['0', '1']);
    expect(sprites.get('1')).toBeNull();
    expect(sprites.get('0')).toBeUndefined();
    sprites.clear();
    expect(closed).toHaveLength(MAX_SPRITES + 1);
  });

  it('are of a minute where seconds are pixels, of an hour where minutes are', () => {
    expect([1, 250, 251, 60_000].map(spriteMs)).toEqual([SPRITES_MS[0], SPRITES_MS[0], SPRITES_MS[1], SPRITES_MS[2]]);
  });
});

describe('a list that was not there', () => {
  it('is asked for again after five seconds, one that is there never', () => {
    expect(isToTryAgain({ overMs: null }, 1e9)).toBe(false);
    expect(isToTryAgain({ overMs: 1_000 }, 6_000)).toBe(false);
    expect(isToTryAgain({ overMs: 1_000 }, 6_001)).toBe(true);
  });
});
