import { describe, expect, it } from 'vitest';
import { Budget, DESKTOP, FellBack, PHONE, type Plan, type Shown } from '../src/wall/budget';
import { added, changed, removed } from '../src/wall/edit';
import { auto, bestColumns, COLUMNS, MAX_ROWS, MAX_TILES, parse, placed, preset, PRESETS, rowsOf, type Box, type Layout } from '../src/wall/grid';
import { LocalLayouts, MAX_LAYOUTS } from '../src/wall/layouts';
import { Stills, type Still } from '../src/wall/stills';
import { random } from './random';

const cameras = (count: number): string[] => Array.from({ length: count }, (_, index) => `camera${index}`);
const overlap = (a: Box, b: Box): boolean => a.left < b.left + b.width - 1e-6 && b.left < a.left + a.width - 1e-6 && a.top < b.top + b.height - 1e-6 && b.top < a.top + a.height - 1e-6;

function isSound(layout: Layout): void {
  for (const [index, { x, y, w, h }] of layout.tiles.entries()) {
    expect(x >= 0 && y >= 0 && w >= 1 && h >= 1 && x + w <= COLUMNS && y + h <= MAX_ROWS).toBe(true);
    for (const other of layout.tiles.slice(index + 1)) {
      expect(x < other.x + other.w && other.x < x + w && y < other.y + other.h && other.y < y + h).toBe(false);
    }
  }
}

describe('auto', () => {
  it('takes the number of columns that makes pictures largest', () => {
    const wide = { width: 1_600, height: 900 };
    expect([1, 2, 3, 4, 5, 6, 9, 16].map((tiles) => bestColumns(tiles, wide, 0))).toEqual([1, 2, 2, 2, 3, 3, 3, 4]);
    expect(bestColumns(2, { width: 1_600, height: 500 }, 0)).toBe(2);
    expect(bestColumns(3, { width: 500, height: 1_600 }, 0)).toBe(1);
  });

  it('no other number of columns shows larger pictures', () => {
    const next = random(1);
    for (let round = 0; round < 300; round++) {
      const area = { width: 300 + next() * 3_000, height: 200 + next() * 2_000 };
      const tiles = 1 + Math.floor(next() * MAX_TILES);
      const width = (columns: number): number => Math.min((area.width - 4 * (columns - 1)) / columns, (16 / 9) * ((area.height - 4 * (Math.ceil(tiles / columns) - 1)) / Math.ceil(tiles / columns)));
      const best = width(bestColumns(tiles, area, 4));
      for (let columns = 1; columns <= tiles; columns++) expect(width(columns)).toBeLessThanOrEqual(best + tiles);
    }
  });

  it('never puts two on top of each other, nor beyond the sides', () => {
    for (const area of [{ width: 1_440, height: 800 }, { width: 390, height: 700 }, { width: 320, height: 500 }, { width: 844, height: 300 }]) {
      for (let tiles = 1; tiles <= MAX_TILES; tiles++) {
        const { boxes, height } = auto(tiles, area, 4);
        expect(boxes).toHaveLength(tiles);
        for (const [index, box] of boxes.entries()) {
          expect(box.left >= -1e-6 && box.left + box.width <= area.width + 1e-6 && box.top + box.height <= height + 1e-6).toBe(true);
          expect(box.width).toBeGreaterThan(140);
          for (const other of boxes.slice(index + 1)) expect(overlap(box, other)).toBe(false);
        }
      }
    }
  });
});

describe('presets', () => {
  it('are whole: no overlap, no hole', () => {
    for (const name of PRESETS) {
      const layout = preset(name, cameras(36));
      isSound(layout);
      expect(layout.tiles.reduce((sum, { w, h }) => sum + w * h, 0)).toBe(COLUMNS * COLUMNS);
      expect(rowsOf(layout)).toBe(COLUMNS);
    }
    expect(PRESETS.map((name) => preset(name, cameras(36)).tiles.length)).toEqual([1, 4, 9, 16, 6, 8]);
  });

  it('take all of the area', () => {
    const boxes = placed(preset('2x2', cameras(4)), { width: 1_000, height: 500 }, 4);
    expect(boxes[3]).toEqual({ left: 502, top: 252, width: 498, height: 248 });
  });
});

describe('layouts', () => {
  it('stay sound whatever is moved where', () => {
    const next = random(7);
    const any = (most: number): number => Math.floor(next() * most * 1.5) - 2;
    for (let round = 0; round < 200; round++) {
      let layout: Layout = preset(PRESETS[Math.floor(next() * PRESETS.length)] ?? '1', cameras(16));
      for (let step = 0; step < 12; step++) {
        const index = Math.floor(next() * layout.tiles.length);
        if (next() < 0.1) layout = added(layout, `more${step}`);
        else if (next() < 0.1) layout = removed(layout, index);
        else layout = changed(layout, index, next() < 0.5 ? { x: any(COLUMNS), y: any(MAX_ROWS) } : { w: any(COLUMNS), h: any(20) });
        isSound(layout);
        expect(parse(JSON.stringify(layout))).toEqual(layout);
      }
    }
  });

  it('push what is in the way down and go up again', () => {
    const before = preset('2x2', cameras(4));
    const wide = changed(before, 0, { w: 12 });
    expect(wide.tiles.map(({ x, y }) => [x, y])).toEqual([[0, 0], [6, 6], [0, 6], [6, 12]]);
    expect(rowsOf(removed(wide, 0))).toBe(12);
  });

  it('hold 36 tiles', () => {
    let layout: Layout = { columns: 12, tiles: [] };
    for (const camera of cameras(50)) layout = added(layout, camera);
    expect(layout.tiles).toHaveLength(MAX_TILES);
    isSound(layout);
  });

  it('that are none are refused', () => {
    const tile = { camera: 'a', x: 0, y: 0, w: 4, h: 4, fit: 'contain' };
    const of = (tiles: unknown): string => JSON.stringify({ columns: 12, tiles });
    expect(parse(of([tile]))).not.toBeNull();
    const wrong = [[tile, tile], [{ ...tile, x: 9 }], [{ ...tile, w: 0 }], [{ ...tile, w: 1.5 }], [{ ...tile, fit: 'x' }], [{ ...tile, camera: 1 }], [null], 'x', Array(37).fill(tile)];
    for (const tiles of wrong) expect(parse(of(tiles))).toBeNull();
    for (const text of ['', '[]', 'null', '{"columns":12}', '{"columns":11,"tiles":[]}', ' '.repeat(9_000)]) expect(parse(text)).toBeNull();
  });
});

describe('layouts in this browser', () => {
  const storage = () => {
    const kept = new Map<string, string>();
    return { kept, getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => void kept.set(key, value), removeItem: (key: string) => void kept.delete(key) };
  };

  it('are kept by name', async () => {
    const layouts = new LocalLayouts(storage());
    await layouts.put('Front', preset('1', ['door']));
    await layouts.put('All', preset('2x2', ['door']));
    expect(await layouts.list()).toEqual(['All', 'Front']);
    expect((await layouts.get('Front'))?.tiles[0]?.camera).toBe('door');
    await layouts.remove('Front');
    expect(await layouts.get('Front')).toBeNull();
  });

  it('are 50', async () => {
    const layouts = new LocalLayouts(storage());
    for (let count = 0; count < MAX_LAYOUTS; count++) await layouts.put(`l${count}`, preset('1', ['door']));
    await expect(layouts.put('more', preset('1', ['door']))).rejects.toThrow('too-many');
    await layouts.put('l0', preset('2x2', ['door']));
    expect(await layouts.list()).toHaveLength(MAX_LAYOUTS);
  });

  it('that somebody else wrote there hurt nobody', async () => {
    for (const text of ['', '[', '3', 'null', '{"a":3}', '{"a":"x"}']) {
      const box = storage();
      box.setItem('sightline.layouts', text);
      expect(await new LocalLayouts(box).get('a')).toBeNull();
    }
  });
});

const tile = (camera: string, more: Partial<Shown> = {}): Shown => ({ camera, seen: true, focused: false, pixels: 100_000, live: true, low: null, ...more });
const none: Plan = new Map();
const playing = (plan: Plan): string[] => [...plan.values()].filter((name) => name !== null);

describe('budget', () => {
  it('plays sixteen, four on phones', () => {
    const tiles = cameras(20).map((name) => tile(name));
    expect(playing(new Budget(DESKTOP, () => false).plan(tiles, none, new Set(), 0))).toHaveLength(16);
    expect(playing(new Budget(PHONE, () => false).plan(tiles, none, new Set(), 0))).toHaveLength(4);
  });

  it('plays what is seen and there', () => {
    const plan = new Budget(DESKTOP, () => false).plan([tile('a'), tile('b', { seen: false }), tile('c', { live: false })], none, new Set(), 0);
    expect([...plan]).toEqual([['a', 'a'], ['b', null], ['c', null]]);
  });

  it('takes the lower rendition but for what is focused or large', () => {
    const low = { low: 'x/low' };
    const plan = new Budget(DESKTOP, () => false).plan([tile('a', low), tile('b', { ...low, focused: true }), tile('c', { ...low, pixels: 1_280 * 720 })], none, new Set(), 0);
    expect(plan.get('a')).toBe('x/low');
    expect(plan.get('b')).toBe('b');
    expect(plan.get('c')).toBe('c');
  });

  it('keeps those that play, and the focused before all', () => {
    const tiles = cameras(6).map((name) => tile(name));
    const budget = new Budget(PHONE, () => false);
    const before = new Map(cameras(6).map((name, index) => [name, index >= 2 ? name : null]));
    expect(playing(budget.plan(tiles, before, new Set(), 0))).toEqual(cameras(6).slice(2));
    const focused = tiles.map((one) => (one.camera === 'camera0' ? { ...one, focused: true } : one));
    expect(playing(budget.plan(focused, before, new Set(), 0))).toContain('camera0');
  });

  it('lets two play by LL-HLS', () => {
    const tiles = cameras(6).map((name) => tile(name));
    const plan = new Budget(DESKTOP, () => false).plan(tiles, none, new Set(cameras(4)), 0);
    expect(playing(plan)).toEqual(['camera0', 'camera1', 'camera4', 'camera5']);
  });

  it('halves what plays after five seconds of too few pictures, and tries again after a minute', () => {
    const budget = new Budget(DESKTOP, () => false);
    const tiles = cameras(16).map((name) => tile(name));
    const shares = Array<number>(14).fill(1).concat([0.5, 0.5]);
    for (let at = 0; at < 5_000; at += 1_000) expect(budget.observe(shares, at)).toBe(false);
    expect(budget.observe(shares, 5_000)).toBe(true);
    expect(budget.halved).toBe(true);
    expect(playing(budget.plan(tiles, none, new Set(), 5_000))).toHaveLength(8);
    expect(budget.observe(Array<number>(8).fill(1), 64_000)).toBe(false);
    expect(budget.observe(Array<number>(8).fill(1), 65_000)).toBe(true);
    expect(budget.halved).toBe(false);
    expect(playing(budget.plan(tiles, none, new Set(), 65_000))).toHaveLength(16);
  });

  it('one poor tile, or a moment of two, changes nothing', () => {
    const budget = new Budget(DESKTOP, () => false);
    for (let at = 0; at < 60_000; at += 1_000) expect(budget.observe([0.1, 1, 1], at)).toBe(false);
    for (let at = 60_000; at < 90_000; at += 1_000) expect(budget.observe(at % 4_000 === 0 ? [1, 1] : [0.1, 0.1], at)).toBe(false);
  });

  it('never goes below one', () => {
    const budget = new Budget(DESKTOP, () => false);
    let at = 0;
    for (let round = 0; round < 6; round++) for (let second = 0; second < 8; second++) budget.observe([0.1, 0.1], (at += 1_000));
    expect(playing(budget.plan([tile('a')], none, new Set(), at))).toEqual(['a']);
  });

  it('ends all a minute after the page is hidden, but for a kiosk', () => {
    for (const kiosk of [false, true]) {
      const budget = new Budget(DESKTOP, () => kiosk);
      budget.hidden(true, 1_000);
      expect(playing(budget.plan([tile('a')], none, new Set(), 60_999))).toEqual(['a']);
      expect(playing(budget.plan([tile('a')], none, new Set(), 61_000))).toEqual(kiosk ? ['a'] : []);
      budget.hidden(false, 70_000);
      expect(playing(budget.plan([tile('a')], none, new Set(), 70_000))).toEqual(['a']);
    }
  });

  it('goes by whether it is a kiosk now', () => {
    let kiosk = true;
    const budget = new Budget(DESKTOP, () => kiosk);
    budget.hidden(true, 0);
    expect(budget.asleep(90_000)).toBe(false);
    kiosk = false;
    expect(budget.asleep(90_000)).toBe(true);
  });

  it('does not begin again within a minute what fell back and was stopped for it', () => {
    const budget = new Budget(DESKTOP, () => false);
    const fellBack = new FellBack();
    const tiles = cameras(16).map((name) => tile(name));
    let plan: Plan = none;
    let byHls: ReadonlySet<string> = new Set();
    const sinceMs = new Map<string, number>();
    const begun: number[] = [];
    for (let now = 0; now < 60_000; now += 1_000) {
      const next = budget.plan(tiles, plan, byHls, now);
      for (const { camera } of tiles) {
        if (next.get(camera) === null) sinceMs.delete(camera);
        else if (!plan.get(camera)) {
          begun.push(now);
          sinceMs.set(camera, now);
        }
      }
      plan = next;
      // WebRTC is tried for five seconds; before a picture there is no pace.
      const paces = new Map([...sinceMs].filter(([, at]) => now - at >= 5_000).map(([camera]) => [camera, { byHls: true }]));
      byHls = fellBack.observe(paces, byHls, now);
    }
    expect(begun).toEqual(Array<number>(16).fill(0));
    expect(playing(plan)).toHaveLength(2);
    expect(fellBack.observe(new Map(), byHls, 60_000)).toBe(byHls);
    expect(fellBack.observe(new Map(), byHls, 200_000).size).toBe(0);
  });
});

describe('stills', () => {
  function world() {
    let now = 0;
    const timers: { at: number; call: () => void }[] = [];
    const asked: { camera: string; at: number; give: (still: Still | null) => void; fail: () => void; signal: AbortSignal }[] = [];
    const stills = new Stills({
      now: () => now,
      after: (ms, call) => {
        const timer = { at: now + ms, call };
        timers.push(timer);
        return () => void timers.splice(timers.indexOf(timer), timers.includes(timer) ? 1 : 0);
      },
      get: (camera, signal) => new Promise((give, fail) => asked.push({ camera, at: now, give, fail: () => fail(new Error('no')), signal })),
    });
    const pass = async (ms: number): Promise<void> => {
      now += ms;
      for (const timer of timers.filter(({ at }) => at <= now)) {
        timers.splice(timers.indexOf(timer), 1);
        timer.call();
      }
      await Promise.resolve();
      await Promise.resolve();
      await Promise.resolve();
    };
    return { stills, asked, pass, timers };
  }

  it('has four under way, and each camera its turn', async () => {
    const { stills, asked, pass } = world();
    for (const camera of cameras(6)) stills.want(camera, () => {});
    expect(asked.map(({ camera }) => camera)).toEqual(cameras(4));
    asked[0]?.give(null);
    await pass(10);
    expect(asked.map(({ camera }) => camera)).toEqual(cameras(5));
    asked[1]?.fail();
    await pass(10);
    expect(asked).toHaveLength(6);
  });

  it('asks again after two seconds', async () => {
    const { stills, asked, pass } = world();
    let shown = 0;
    stills.want('a', () => shown++);
    asked[0]?.give(null);
    await pass(0);
    expect([asked.length, shown]).toEqual([1, 1]);
    await pass(1_999);
    expect(asked).toHaveLength(1);
    await pass(1);
    expect(asked).toHaveLength(2);
  });

  it('ends what nobody wants any more, and no timer stays', async () => {
    const { stills, asked, pass, timers } = world();
    let shown = 0;
    const end = stills.want('a', () => shown++);
    end();
    expect(asked[0]?.signal.aborted).toBe(true);
    asked[0]?.give(null);
    await pass(10_000);
    expect([asked.length, shown, timers.length]).toEqual([1, 0, 0]);
  });
});
