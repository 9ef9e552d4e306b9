import { beforeEach, describe, expect, it } from 'vitest';
import type { Failure, Listener, Session, Via } from '../src/player/session';
import { Supervisor, type Status } from '../src/player/supervisor';

/** A try that the test answers. */
class Try implements Session {
  state: 'open' | 'silent' | 'closed' = 'open';
  media = false;

  constructor(
    readonly via: Via,
    readonly listener: Listener,
    readonly at: number,
  ) {}

  arriving = (): boolean => this.media;
  silence = (): void => void (this.state = 'silent');
  close = (): void => void (this.state = 'closed');
}

/** A browser in which time passes when the test says so. */
class World {
  time = 1_000;
  timers: { at: number; call: () => void }[] = [];
  tries: Try[] = [];
  shown: Session | null = null;
  told: Status[] = [];
  supervisor = new Supervisor({
    open: { webrtc: (listener) => this.open('webrtc', listener), hls: (listener) => this.open('hls', listener) },
    now: () => this.time,
    after: (ms, call) => {
      const timer = { at: this.time + ms, call };
      this.timers.push(timer);
      return () => (this.timers = this.timers.filter((other) => other !== timer));
    },
    random: () => 0.5,
    present: (session) => (this.shown = session),
    changed: (status) => this.told.push(status),
  });

  open(via: Via, listener: Listener): Session {
    const made = new Try(via, listener, this.time);
    this.tries.push(made);
    return made;
  }

  pass(ms: number, each?: () => void): void {
    const end = this.time + ms;
    for (;;) {
      each?.();
      const next = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.time = Math.max(this.time, next.at);
      next.call();
    }
    this.time = end;
  }

  /** The newest try that is still open. */
  last(via: Via): Try {
    const found = this.tries.filter((made) => made.via === via && made.state === 'open').at(-1);
    if (!found) throw new Error(`no ${via} is tried`);
    return found;
  }

  count(via: Via): number {
    return this.tries.filter((made) => made.via === via && made.state === 'open').length;
  }

  /** Pictures of this try for so long. */
  play(made: Try, ms: number): void {
    made.listener.connected();
    for (let passed = 0; passed < ms; passed += 100) {
      made.listener.picture();
      this.pass(100);
    }
    made.listener.picture();
  }

  get status(): Status {
    const status = this.told.at(-1);
    if (!status) throw new Error('nothing was told');
    return status;
  }
}

const failure = (kind: Failure['kind'], retryAfterMs?: number): Failure => ({
  kind,
  message: kind,
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
});

let world: World;
beforeEach(() => {
  world = new World();
  world.supervisor.start();
});

describe('playing', () => {
  it('begins with WebRTC alone and is live with the first picture', () => {
    expect(world.status.phase).toBe('connecting');
    expect(world.tries.map((made) => made.via)).toEqual(['webrtc']);
    world.play(world.last('webrtc'), 300);
    expect(world.status.phase).toBe('live');
    world.pass(1_500);
    expect(world.tries.length).toBe(1);
  });

  it('calls a picture that is two seconds old no live one, and says since when', () => {
    world.play(world.last('webrtc'), 6_000);
    const at = world.time;
    world.pass(1_900);
    expect(world.status.phase).toBe('live');
    world.pass(400);
    expect(world.status).toMatchObject({ phase: 'held', lastPictureMs: at });
  });

  it('is live again at once when the picture goes on, and needs no replacement then', () => {
    const first = world.last('webrtc');
    world.play(first, 6_000);
    world.pass(4_500);
    expect(world.count('webrtc')).toBe(2);
    first.listener.picture();
    expect(world.status.phase).toBe('live');
    expect(world.count('webrtc')).toBe(1);
    expect(first.state).toBe('open');
  });

  it('replaces a session that stands still by one that has a picture, not before', () => {
    const first = world.last('webrtc');
    world.play(first, 6_000);
    world.pass(3_000);
    const second = world.last('webrtc');
    expect(second).not.toBe(first);
    second.listener.connected();
    expect([first.state, world.shown]).toEqual(['open', first]);
    second.listener.picture();
    expect([first.state, world.shown, world.status.phase]).toEqual(['closed', second, 'live']);
  });

  it('keeps the last picture of a session that ended until there is another', () => {
    const first = world.last('webrtc');
    world.play(first, 6_000);
    first.listener.failed(failure('broken'));
    expect(first.state).toBe('silent');
    world.pass(300);
    world.play(world.last('webrtc'), 100);
    expect([first.state, world.status.phase]).toEqual(['closed', 'live']);
    expect(world.tries.every((made) => made.via === 'webrtc')).toBe(true);
  });

  it('does not take a page that nobody sees for a stream that stands still', () => {
    world.play(world.last('webrtc'), 1_000);
    world.supervisor.visible(false);
    world.pass(60_000);
    expect(world.status.phase).toBe('live');
    world.supervisor.visible(true);
    world.pass(1_500);
    expect(world.status.phase).toBe('live');
    world.pass(1_000);
    expect(world.status.phase).toBe('held');
  });
});

describe('falling back', () => {
  it('plays by LL-HLS where WebRTC is refused, says why, and goes on trying', () => {
    world.last('webrtc').listener.failed(failure('refused'));
    world.play(world.last('hls'), 200);
    expect(world.status).toMatchObject({ phase: 'fallen-back', message: 'refused' });
    const before = world.tries.length;
    world.pass(3_000, () => world.tries.at(-1)?.via === 'hls' || world.last('hls').listener.picture());
    expect(world.tries.length).toBeGreaterThan(before);
    world.play(world.last('webrtc'), 200);
    expect(world.status).toMatchObject({ phase: 'live', message: null });
    expect(world.count('hls')).toBe(0);
  });

  it('plays by LL-HLS where media do not come through', () => {
    world.pass(5_100);
    expect(world.count('hls')).toBe(1);
    expect(world.tries[0]?.state).toBe('closed');
  });

  it('plays by LL-HLS where media come that give no picture, but waits where none come', () => {
    const made = world.last('webrtc');
    made.listener.connected();
    world.pass(20_000);
    expect([made.state, world.count('hls')]).toEqual(['open', 0]);
    made.media = true;
    world.pass(4_100);
    expect([made.state, world.count('hls')]).toEqual(['closed', 1]);
  });

  it('tries WebRTC less and less often meanwhile, but never stops', () => {
    world.last('webrtc').listener.failed(failure('refused'));
    const hls = world.last('hls');
    hls.listener.connected();
    const began: number[] = [];
    for (let passed = 0; passed < 600_000; passed += 100) {
      hls.listener.picture();
      world.pass(100);
      for (const made of world.tries) {
        if (made.via !== 'webrtc' || made.state !== 'open') continue;
        began.push(made.at);
        made.listener.failed(failure('refused'));
      }
      world.tries = world.tries.filter((made) => made.state === 'open');
    }
    const pauses = began.map((at, index) => at - (began[index - 1] ?? at));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(36_100);
    expect(began.length).toBeGreaterThan(18);
    expect(began.length).toBeLessThan(40);
    expect(world.timers.length).toBeLessThanOrEqual(3);
  });

  it('does not fall back from a stream that is not there', () => {
    world.last('webrtc').listener.failed(failure('missing'));
    expect(world.status).toMatchObject({ phase: 'gone', message: 'missing' });
    world.pass(60_000, () => {
      if (world.count('webrtc') > 0) world.last('webrtc').listener.failed(failure('missing'));
    });
    expect(world.tries.some((made) => made.via === 'hls')).toBe(false);
    expect(world.tries.length).toBeGreaterThan(12);
  });
});

describe('coming back', () => {
  it('from a server that was away: a try every few seconds, at once when told that something changed', () => {
    const first = world.last('webrtc');
    world.play(first, 6_000);
    first.listener.failed(failure('broken'));
    const refuse = (): void => {
      for (const via of ['webrtc', 'hls'] as const) while (world.count(via) > 0) world.last(via).listener.failed(failure('unreachable'));
    };
    world.pass(3_600_000, refuse);
    expect(world.status).toMatchObject({ phase: 'held', message: 'unreachable' });
    const pauses = world.tries.filter((made) => made.via === 'webrtc').map((made, index, all) => made.at - (all[index - 1]?.at ?? made.at));
    expect(Math.max(...pauses.slice(2))).toBeLessThanOrEqual(4_900);
    refuse();
    world.supervisor.nudge();
    world.play(world.last('webrtc'), 300);
    expect(world.status.phase).toBe('live');
    expect(world.count('hls')).toBe(0);
  });

  it('never has more than one try of each kind beside what is shown, and grows nowhere', () => {
    const first = world.last('webrtc');
    world.play(first, 6_000);
    let most = 0;
    world.pass(600_000, () => {
      most = Math.max(most, world.count('webrtc') + world.count('hls'));
      expect(world.timers.length).toBeLessThanOrEqual(4);
    });
    expect(most).toBeLessThanOrEqual(3);
    // Statuses are told when they change, not all the time.
    expect(world.told.length).toBeLessThan(400);
  });

  it('obeys a server that asks for patience', () => {
    world.last('webrtc').listener.failed(failure('refused', 7_000));
    world.last('hls').listener.failed(failure('refused', 7_000));
    world.pass(6_900);
    expect(world.tries.length).toBe(2);
    world.pass(200);
    expect(world.tries.length).toBe(4);
  });

  it('does not show a wrong credential again and again', () => {
    world.last('webrtc').listener.failed(failure('denied'));
    expect(world.status.phase).toBe('gone');
    world.supervisor.nudge();
    world.supervisor.visible(true);
    world.pass(59_000);
    expect(world.tries.length).toBe(1);
    world.pass(2_000);
    expect(world.tries.length).toBe(2);
  });
});

describe('stopping', () => {
  it('ends everything, and nothing happens after', () => {
    world.play(world.last('webrtc'), 300);
    world.supervisor.stop();
    expect(world.status.phase).toBe('stopped');
    expect(world.tries.every((made) => made.state === 'closed')).toBe(true);
    expect(world.timers).toEqual([]);
    world.supervisor.nudge();
    world.tries[0]?.listener.picture();
    world.tries[0]?.listener.failed(failure('broken'));
    expect([world.tries.length, world.status.phase]).toEqual([1, 'stopped']);
    world.supervisor.start();
    world.play(world.last('webrtc'), 100);
    expect(world.status.phase).toBe('live');
  });
});
