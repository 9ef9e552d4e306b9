import { describe, expect, it } from 'vitest';
import { cards, MAX_REVIEWED, Reviewed } from '../src/events/cards';
import { fieldOf, later, month, timeOf } from '../src/timeline/days';
import type { Recorded } from '../src/timeline/recordings';
import { Zone } from '../src/timeline/zone';

const event = (id: number, from: number, to: number, more: Partial<Recorded> = {}): Recorded => ({ id, camera: 'door', kind: 'motion', score: null, from: from * 1_000, to: to * 1_000, ...more });

describe('cards', () => {
  it('are one of what is close, by camera, newest first', () => {
    const found = cards([event(1, 0, 5), event(2, 12, 20, { kind: 'bell', score: 0.5 }), event(3, 3, 4, { camera: 'yard' }), event(4, 31, 32)]);
    expect(found.map(({ key, kinds, events, score, to }) => [key, kinds.join(), events, score, to])).toEqual([
      ['door@4', 'motion', 1, null, 32_000],
      ['yard@3', 'motion', 1, null, 4_000],
      ['door@1', 'motion,bell', 2, 0.5, 20_000],
    ]);
  });

  it('are no longer than three minutes where something never ends', () => {
    const found = cards(Array.from({ length: 600 }, (_, index) => event(index, index, index + 1)));
    expect(found.every(({ from, to }) => to - from <= 180_000)).toBe(true);
    expect(found.reduce((sum, { events }) => sum + events, 0)).toBe(600);
  });

  it('keep their key when more comes behind', () => {
    expect(cards([event(1, 0, 5)])[0]?.key).toBe(cards([event(1, 0, 5), event(2, 8, 9)])[0]?.key);
  });
});

describe('reviewed', () => {
  const storage = () => {
    const kept = new Map<string, string>();
    return { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => void kept.set(key, value) };
  };

  it('is kept, and the newest of it when it is too much', () => {
    const box = storage();
    new Reviewed(box).set(Array.from({ length: MAX_REVIEWED + 10 }, (_, index) => `${index}`), true);
    const again = new Reviewed(box);
    expect([again.has('9'), again.has('10'), again.has(`${MAX_REVIEWED + 9}`)]).toEqual([false, true, true]);
    again.set(['10'], false);
    expect(new Reviewed(box).has('10')).toBe(false);
  });

  it('is not hurt by what others wrote there, nor by a browser that keeps nothing', () => {
    for (const text of ['', '{', '{}', 'null', '[1,2]']) {
      const box = storage();
      box.setItem('sightline.reviewed', text);
      expect(new Reviewed(box).has('1')).toBe(false);
    }
    const full = { getItem: () => null, setItem: () => { throw new Error('full'); } };
    const reviewed = new Reviewed(full);
    reviewed.set(['a'], true);
    expect(reviewed.has('a')).toBe(true);
  });
});

describe('days', () => {
  const berlin = new Zone('Europe/Berlin');

  it('of a month are all of it, one behind the other, and know what is recorded', () => {
    for (const [year, number, count] of [[2026, 9, 31], [2026, 2, 31], [2028, 1, 29], [2026, 1, 28]] as const) {
      const at = Date.UTC(year, number, 15);
      const days = month(at, berlin, [{ from: at, to: at + 1_000 }]);
      expect(days).toHaveLength(count);
      for (const [index, day] of days.entries()) expect(day.from).toBe(days[index - 1]?.to ?? day.from);
      expect(days.filter(({ recorded }) => recorded).map((day) => day.number)).toEqual([15]);
    }
    expect(month(Date.UTC(2026, 10, 23), berlin, [])[22]?.weekday).toBe(0);
  });

  it('a month later is the same day, or the last', () => {
    const iso = (at: number): string => fieldOf(at, berlin).slice(0, 10);
    expect(iso(later(Date.UTC(2026, 0, 31, 12), 1, berlin))).toBe('2026-02-28');
    expect(iso(later(Date.UTC(2026, 0, 15, 12), -1, berlin))).toBe('2025-12-15');
  });

  it('go into fields and back', () => {
    for (const at of [Date.UTC(2026, 10, 23, 11, 12, 13), Date.UTC(2026, 6, 1), Date.UTC(2026, 2, 29, 1)]) expect(timeOf(fieldOf(at, berlin), berlin)).toBe(at);
    expect(timeOf('', berlin)).toBeNull();
    expect(timeOf('2026-02-31T99:00', berlin)).toBeNull();
  });
});
