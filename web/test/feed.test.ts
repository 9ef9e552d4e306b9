import { describe, expect, it } from 'vitest';
import { Feed, type Told } from '../src/feed/feed';
import type { Wire, World } from '../src/feed/socket';

/** A browser's clock, sockets and chance, all told. */
class Fake implements World {
  nowMs = 0;
  wires: FakeWire[] = [];
  knowsUs = true;
  #timers: { atMs: number; call: () => void }[] = [];

  open(url: URL): Wire {
    const wire = new FakeWire(url);
    this.wires.push(wire);
    return wire;
  }
  now(): number {
    return this.nowMs;
  }
  after(ms: number, call: () => void): () => void {
    const timer = { atMs: this.nowMs + ms, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }
  random(): number {
    return 0.5;
  }
  signedIn(): Promise<boolean> {
    return Promise.resolve(this.knowsUs);
  }

  async passes(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    for (;;) {
      const next = this.#timers.filter(({ atMs }) => atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.nowMs = next.atMs;
      next.call();
      await settled();
    }
    this.nowMs = end;
  }

  get wire(): FakeWire {
    return this.wires.at(-1) ?? expect.fail('no socket was opened');
  }
}

class FakeWire implements Wire {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: { type: string; [member: string]: unknown }[] = [];

  constructor(readonly url: URL) {}
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closes(1_000);
  }
  opens(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  closes(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }
  says(...messages: object[]): void {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }
  get wants(): unknown {
    return this.sent.filter(({ type }) => type === 'want').at(-1)?.['topics'];
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

const HELLO = { type: 'hello', version: '1.0', me: { name: 'anna', role: 'admin', rights: [], account: true }, of: { stream: ['fps', 'kbps'], system: ['cpu_percent'] } };
const stream = (name: string, state = 'live') => ({ type: 'set', key: `stream/${name}`, value: { name, state } });

function begun(): { world: Fake; feed: Feed } {
  const world = new Fake();
  const url = (after: number | null): URL => new URL(`ws://pi/api/v1/live${after === null ? '' : `?after=${after}`}`);
  return { world, feed: new Feed({ url, world }) };
}

function heard<T extends keyof Told>(feed: Feed, type: T): Told[T][] {
  const all: Told[T][] = [];
  feed.on(type, (told) => all.push(told));
  return all;
}

describe('keys', () => {
  it('hold what was told last, and those who listen hear of it', () => {
    const { world, feed } = begun();
    let calls = 0;
    const end = feed.listen('stream/door', () => calls++);
    world.wire.opens();
    world.wire.says(HELLO, stream('door'), stream('attic'), { type: 'known' });
    expect(feed.me?.name).toBe('anna');
    expect(feed.streams().map(({ name }) => name)).toEqual(['attic', 'door']);
    world.wire.says(stream('door', 'held'), { type: 'gone', key: 'stream/attic' });
    expect(feed.get('stream/door')?.state).toBe('held');
    expect(feed.streams().length).toBe(1);
    end();
    world.wire.says(stream('door'));
    expect(calls).toBe(2);
  });

  it('that are not told again after the connection was lost are gone', async () => {
    const { world, feed } = begun();
    world.wire.opens();
    world.wire.says(HELLO, stream('door'), stream('attic'), { type: 'known' });
    world.wire.closes(1_006);
    expect([feed.reachable, feed.known]).toEqual([false, false]);
    await world.passes(600);
    world.wire.opens();
    const told = heard(feed, 'streams');
    world.wire.says(HELLO, stream('door'));
    // Not before all were told.
    expect(feed.streams().length).toBe(2);
    world.wire.says({ type: 'known' });
    expect(feed.streams().map(({ name }) => name)).toEqual(['door']);
    expect(told.length).toBeGreaterThan(0);
  });

  it('that are not told again behind another hello are gone', () => {
    const { world, feed } = begun();
    world.wire.opens();
    world.wire.says(HELLO, stream('door'), stream('attic'), { type: 'known' });
    world.wire.says(HELLO, stream('door'));
    expect(feed.streams().map(({ name }) => name)).toEqual(['attic', 'door']);
    world.wire.says({ type: 'known' });
    expect(feed.streams().map(({ name }) => name)).toEqual(['door']);
  });

  it('of a topic are no more true when nobody wants it', async () => {
    const { world, feed } = begun();
    world.wire.opens();
    const ends = [feed.want('camera/door'), feed.want('camera/door')];
    await settled();
    world.wire.says({ type: 'set', key: 'camera/door', value: { brightness: 3 } });
    ends[0]?.();
    ends[0]?.();
    expect(feed.get('camera/door')?.brightness).toBe(3);
    ends[1]?.();
    expect(feed.get('camera/door')).toBeUndefined();
  });
});

describe('topics', () => {
  it('are asked for once, whoever wants them, and again on each connection', async () => {
    const { world, feed } = begun();
    world.wire.opens();
    const ends = ['figures', 'figures', 'sessions/door'].map((topic) => feed.want(topic));
    await settled();
    expect(world.wire.sent.filter(({ type }) => type === 'want').length).toBe(1);
    expect(world.wire.wants).toEqual(['keys', 'figures', 'sessions/door']);
    ends[2]?.();
    await settled();
    expect(world.wire.wants).toEqual(['keys', 'figures']);
    world.wire.closes(1_006);
    await world.passes(600);
    world.wire.opens();
    expect(world.wire.wants).toEqual(['keys', 'figures']);
  });

  it('are none while nobody sees the page', async () => {
    const { world, feed } = begun();
    world.wire.opens();
    feed.want('figures');
    feed.hidden(true);
    await settled();
    expect(world.wire.wants).toEqual([]);
    feed.hidden(false);
    await settled();
    expect(world.wire.wants).toEqual(['keys', 'figures']);
  });

  it('are 64 at most', async () => {
    const { world, feed } = begun();
    world.wire.opens();
    for (let index = 0; index < 100; index++) feed.want(`camera/${index}`);
    await settled();
    expect((world.wire.wants as string[]).length).toBe(64);
  });
});

describe('figures', () => {
  it('are told by place, as the server named them', () => {
    const { world, feed } = begun();
    world.wire.opens();
    world.wire.says(HELLO, { type: 'figures', at: 5_000, v: { door: [29.5, null] }, system: [12] });
    expect(feed.figure('door', 'fps')).toBe(29.5);
    expect(feed.figure('door', 'kbps')).toBeNull();
    expect(feed.figure(null, 'cpu_percent')).toBe(12);
    expect(feed.series('door').ring('fps')?.read(0, 9)).toEqual({ x: new Float64Array([5]), y: [29.5] });
    // What was true is not shown for what is, once nobody says so.
    world.wire.closes(1_006);
    expect(feed.figure('door', 'fps')).toBeNull();
    expect(feed.series('door').ring('fps')?.newest()).toBe(29.5);
  });

  it('of a stream that is gone are told no more, and its past stays', () => {
    const { world, feed } = begun();
    world.wire.opens();
    world.wire.says(HELLO, { type: 'figures', at: 1_000, v: { door: [30, 1], attic: [25, 1] } });
    for (let at = 2_000; at <= 3_000; at += 1_000) world.wire.says({ type: 'figures', at, v: { attic: [25, 1] } });
    expect(feed.figure('door', 'fps')).toBe(30);
    world.wire.says({ type: 'figures', at: 4_000, v: { attic: [25, 1] } });
    expect(feed.figure('door', 'fps')).toBeNull();
    expect(feed.figure('attic', 'fps')).toBe(25);
    expect(feed.series('door').ring('fps')?.newest()).toBe(30);
  });

  it('of more streams than are kept are all told, and have a past where somebody asks for it', () => {
    const { world, feed } = begun();
    world.wire.opens();
    const v = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`s${index}`, [index, 1]]));
    const hear = (fromS: number, toS: number): void => {
      for (let second = fromS; second < toS; second++) world.wire.says({ type: 'figures', at: second * 1_000, v, system: [1] });
    };
    world.wire.says(HELLO);
    hear(1, 11);
    for (const index of [0, 63, 64, 79]) expect(feed.figure(`s${index}`, 'fps')).toBe(index);
    const past = feed.series('s0');
    expect(past.ring('fps')?.read(0, 99).x.length).toBe(10);
    feed.series('s79');
    hear(11, 16);
    expect(feed.series('s79').ring('fps')?.read(0, 99).x.length).toBe(5);
    expect(feed.series('s0')).toBe(past);
    expect(past.ring('fps')?.read(0, 99).x.length).toBe(15);
    expect(feed.series(null).ring('cpu_percent')?.read(0, 99).x.length).toBe(15);
  });

  it('of ever new streams are forgotten, the machine’s never', () => {
    const { world, feed } = begun();
    world.wire.opens();
    world.wire.says(HELLO, { type: 'figures', at: 1_000, v: {}, system: [1] });
    for (let index = 0; index < 200; index++) world.wire.says({ type: 'figures', at: 2_000 + index * 1_000, v: { [`s${index}`]: [1, 2] } });
    expect(feed.series('s199').ring('fps')?.newest()).toBe(1);
    expect(feed.series(null).ring('cpu_percent')?.newest()).toBe(1);
    expect(feed.figure('s0', 'fps')).toBeNull();
    expect(feed.figure('s199', 'fps')).toBe(1);
  });
});

describe('a connection', () => {
  it('that is lost comes back, later each time, from the event on that was heard last', async () => {
    const { world, feed } = begun();
    const events = heard(feed, 'event');
    world.wire.opens();
    world.wire.says(HELLO, { type: 'event', event: { id: 41, at: '2026-11-23T10:00:00Z', kind: 'stream.available', stream: 'door' } });
    expect(events.map(({ id }) => id)).toEqual([41]);
    world.wire.closes(1_006);
    const waits: number[] = [];
    for (let tries = 0; tries < 8; tries++) {
      const [before, began] = [world.wires.length, world.nowMs];
      while (world.wires.length === before) await world.passes(100);
      waits.push(world.nowMs - began);
      world.wire.closes(1_006);
    }
    expect(waits[0]).toBeLessThanOrEqual(700);
    expect(waits[7]).toBeGreaterThanOrEqual(8_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(12_100);
    expect(world.wire.url.search).toBe('?after=41');
  });

  it('that comes to nothing without a word is tried again', async () => {
    const world = new Fake();
    const feed = new Feed({ url: () => new URL('ws://host/live'), world });
    const first = world.wire;
    await world.passes(20_000);
    expect(first.readyState).toBe(3);
    expect(world.wires.length).toBe(2);
    world.wire.opens();
    expect(feed.reachable).toBe(true);
    // What the first says late is nobody's.
    first.onopen?.();
    expect(world.wire.sent.filter(({ type }) => type === 'ping').length).toBe(1);
  });

  it('that says the credential ended is not tried again', async () => {
    const { world, feed } = begun();
    world.wire.opens();
    world.wire.closes(4_401);
    expect(feed.signedOut).toBe(true);
    await world.passes(60_000);
    expect(world.wires.length).toBe(1);
  });

  it('that is refused because nobody knows us is not tried again', async () => {
    const { world, feed } = begun();
    world.knowsUs = false;
    world.wire.closes(1_006);
    await settled();
    expect(feed.signedOut).toBe(true);
    await world.passes(60_000);
    expect(world.wires.length).toBe(1);
  });

  it('whose other end is silent is given up', async () => {
    const { world } = begun();
    world.wire.opens();
    await world.passes(2_000);
    expect(world.wires.length).toBeGreaterThan(1);
  });

  it('whose other end is gone without a word is given up at once, whatever the browser still waits for', async () => {
    const { world, feed } = begun();
    world.wire.opens();
    world.wire.says(HELLO, stream('door'), { type: 'known' });
    const first = world.wire;
    // It waits a minute for the other end to close, too.
    first.close = () => (first.readyState = 2);
    await world.passes(2_000);
    expect(first.readyState).toBe(2);
    expect(world.wires.length).toBe(2);
    world.wire.opens();
    expect(feed.reachable).toBe(true);
    first.closes(1_006);
    first.says({ type: 'gone', key: 'stream/door' });
    expect([feed.reachable, feed.streams().length]).toEqual([true, 1]);
  });

  it('tells the server’s clock, and how long a question takes', async () => {
    const { world, feed } = begun();
    world.wire.opens();
    world.nowMs += 10;
    world.wire.says({ type: 'pong', client: 1, server_us: 1_000_000 });
    expect(feed.roundTripMs()).toBe(10);
    expect(feed.clock()?.offsetMs).toBe(1_000 - 5);
    world.wire.says({ type: 'pong', client: 7, server_us: 5 });
    expect(feed.roundTripMs()).toBe(10);
  });
});

it.each([
  '', 'x', '[]', 'null', '{"type":5}', '{"type":"set"}', '{"type":"figures"}', '{"type":"figures","at":1,"v":{"a":5,"b":null},"system":"x"}', '{"type":"event"}',
  '{"type":"event","event":{"id":"1"}}', '{"type":"hello"}', '{"type":"chat"}', '{"type":"gone","key":"nothing"}', '{"type":"missed","events":"many"}', '{"type":"unknown"}',
])('what makes no sense breaks nothing: %s', (text) => {
  const { world, feed } = begun();
  world.wire.opens();
  world.wire.onmessage?.({ data: text });
  world.wire.onmessage?.({ data: new ArrayBuffer(3) });
  world.wire.says(HELLO, stream('door'), { type: 'known' });
  expect(feed.streams().length).toBe(1);
});

/** 86,400 seconds of 50 cameras: what is kept is what was kept after the first hour. */
it('a day does not make it grow', () => {
  const { world, feed } = begun();
  world.wire.opens();
  world.wire.says(HELLO);
  const names = Array.from({ length: 50 }, (_, index) => `camera${index}`);
  world.wire.says(...names.map((name) => stream(name)), { type: 'known' });
  const v = Object.fromEntries(names.map((name) => [name, [30, 2_000]]));
  const hear = (fromS: number, toS: number): void => {
    for (let second = fromS; second < toS; second++) {
      world.wire.onmessage?.({ data: JSON.stringify({ type: 'figures', at: second * 1_000, v, system: [12] }) });
      world.wire.says({ type: 'event', event: { id: second, at: '2026-11-23T10:00:00Z', kind: 'motion.began', stream: 'camera1' } });
    }
  };
  const kept = (): number => {
    (globalThis.gc ?? expect.fail('no collector: see vite.config.ts'))();
    return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
  };
  hear(0, 3_600);
  const before = kept();
  hear(3_600, 86_400);
  const grown = kept() - before;
  expect(feed.series('camera7').ring('fps')?.read(0, 1e9).x.length).toBe(3_600);
  expect(grown).toBeLessThan(1_048_576);
}, 60_000);
