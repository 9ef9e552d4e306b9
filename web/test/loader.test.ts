import { describe, expect, it } from 'vitest';
import { windowMs } from '../src/timeline/axis';
import { Loader, type Recordings, type Layered, type Motion, type Range } from '../src/timeline/recordings';
import { MAX_BYTES, MAX_WINDOWS, Windows, type Window } from '../src/timeline/windows';

const LEVEL = 10;

/** Answers each question at once, and counts them. */
function answering(ranges: () => Range[], motion: () => Motion) {
  let asked = 0;
  const recordings = {
    ranges: () => Promise.resolve((asked++, ranges())),
    motion: () => Promise.resolve((asked++, motion())),
  } as unknown as Recordings;
  const now = 100 * windowMs(LEVEL);
  const windows = new Windows<Layered>();
  return { loader: new Loader(recordings, windows, () => now, () => undefined), windows, asked: () => asked };
}

async function rounds(count: number): Promise<void> {
  for (let round = 0; round < count; round++) await new Promise((resolve) => setTimeout(resolve, 0));
}

function view(cameras: number, layer: Window['layer']): Window[] {
  return Array.from({ length: cameras }, (_, camera) => Array.from({ length: 4 }, (_, index) => ({ camera: `c${camera}`, layer, level: LEVEL, index }))).flat();
}

describe('a view', () => {
  it('of more windows than are kept otherwise is asked for once', async () => {
    const { loader, windows, asked } = answering(() => [], () => ({ from: 0, stepMs: 1, values: new Uint8Array() }));
    const all = view(20, 'ranges');
    expect(all.length).toBeGreaterThan(MAX_WINDOWS);
    loader.want(all);
    await rounds(200);
    expect(asked()).toBe(all.length);
    for (const window of all) expect(windows.get(window)).not.toBeNull();
    loader.want(all);
    await rounds(20);
    expect(asked()).toBe(all.length);
    // Another view: what was of this one goes, down to what is kept.
    loader.want(view(1, 'ranges').map((window) => ({ ...window, camera: 'other' })));
    await rounds(20);
    expect(windows.size().windows).toBe(MAX_WINDOWS);
  });

  it('that is larger than what is kept is asked for once each time that it is told', async () => {
    const values = new Uint8Array(MAX_BYTES / 4);
    const { loader, windows, asked } = answering(() => [], () => ({ from: 0, stepMs: 1, values }));
    const all = view(2, 'motion');
    loader.want(all);
    await rounds(100);
    expect(asked()).toBe(all.length);
    expect(windows.size().bytes).toBeLessThanOrEqual(MAX_BYTES);
  });
});
