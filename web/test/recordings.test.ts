import { describe, expect, it } from 'vitest';
import { Problem, type Api } from '../src/api';
import { Recordings, without } from '../src/timeline/recordings';

describe('deleting', () => {
  interface File {
    start: number;
    end: number;
    size_bytes: number;
  }

  /** As the server does: nothing where one is protected, 1,000 at a time, 404 where there is none. */
  function server(files: File[], kept: { start: number; end: number }[]) {
    const time = ({ start, end }: { start: number; end: number }) => ({ start: new Date(start).toISOString(), end: new Date(end).toISOString() });
    let left = files;
    const api = {
      get: (path: string) =>
        Promise.resolve(
          path === 'recordings/protected'
            ? { protected: kept.map((one) => ({ ...time(one), why: '' })) }
            : { recordings: left.map((file) => ({ ...time(file), size_bytes: file.size_bytes })), next: null },
        ),
      send: (_: string, path: string) => {
        const [from = 0, to = 0] = (decodeURIComponent(path).split('@')[1] ?? '').split('-').map((text) => Number(text) / 1_000);
        const whole = left.filter(({ start, end }) => start >= from && end <= to).slice(0, 1_000);
        if (whole.length === 0) return Promise.reject(new Problem(404, 'no-such-recording', ''));
        if (whole.some(({ start, end }) => kept.some((one) => one.start < end && one.end > start))) return Promise.reject(new Problem(409, 'protected', ''));
        left = left.filter((file) => !whole.includes(file));
        return Promise.resolve({ marked: whole.length });
      },
    };
    return { recordings: new Recordings(api as unknown as Api), left: () => left };
  }
  const minutes = (count: number): File[] => Array.from({ length: count }, (_, index) => ({ start: index * 60_000, end: (index + 1) * 60_000, size_bytes: 10 }));

  it('leaves what is protected, and takes as many files as it said', async () => {
    const { recordings, left } = server(minutes(10), [{ start: 130_000, end: 250_000 }]);
    const span = { from: 0, to: 600_000 };
    const weight = await recordings.weight('door', span);
    expect(weight).toMatchObject({ files: 7, bytes: 70, more: false });
    expect(weight.protected.length).toBe(1);
    expect(await recordings.remove('door', span)).toBe(7);
    expect(left().map(({ start }) => start / 60_000)).toEqual([2, 3, 4]);
  });

  it('goes on until nothing is left', async () => {
    const { recordings, left } = server(minutes(2_500), []);
    expect(await recordings.remove('door', { from: 0, to: 2_400 * 60_000 })).toBe(2_400);
    expect(left().length).toBe(100);
    expect(await recordings.remove('door', { from: 0, to: 2_400 * 60_000 })).toBe(0);
  });

  it('fails where the server does not say why nothing is gone', async () => {
    const api = { get: () => Promise.resolve({ protected: [] }), send: () => Promise.reject(new Problem(503, '', 'the disk is away')) };
    await expect(new Recordings(api as unknown as Api).remove('door', { from: 0, to: 1 })).rejects.toThrow('the disk is away');
  });
});

describe('a span', () => {
  it('less some others is what is between them', () => {
    const span = { from: 10, to: 100 };
    expect(without(span, [])).toEqual([span]);
    expect(without(span, [{ from: 0, to: 200 }])).toEqual([]);
    expect(without(span, [{ from: 60, to: 70 }, { from: 20, to: 30 }, { from: 25, to: 40 }, { from: 22, to: 24 }])).toEqual([
      { from: 10, to: 20 },
      { from: 40, to: 60 },
      { from: 70, to: 100 },
    ]);
    expect(without(span, [{ from: 0, to: 10 }, { from: 100, to: 110 }, { from: 95, to: 200 }])).toEqual([{ from: 10, to: 95 }]);
  });
});
