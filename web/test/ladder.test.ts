import { beforeEach, describe, expect, it } from 'vitest';
import { Ladder } from '../src/player/ladder';

/** A player in which time passes when the test says so, with two variants. */
class World {
  timeMs = 0;
  level = 1;
  levels = 2;
  timers: { atMs: number; call: () => void }[] = [];
  steps: string[] = [];
  /** When it went up. */
  ups: number[] = [];
  ladder = new Ladder({
    now: () => this.timeMs,
    after: (ms, call) => {
      const timer = { atMs: this.timeMs + ms, call };
      this.timers.push(timer);
      return () => (this.timers = this.timers.filter((other) => other !== timer));
    },
    down: (standing) => {
      this.steps.push(standing ? 'down at once' : 'down');
      this.level = Math.max(0, this.level - 1);
    },
    up: () => {
      this.steps.push('up');
      this.ups.push(this.timeMs);
      this.level += 1;
    },
  });

  shows = (): void => this.ladder.shows(this.level, this.levels);

  pass(ms: number): void {
    const endMs = this.timeMs + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (!next) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.timeMs = next.atMs;
      next.call();
    }
    this.timeMs = endMs;
  }

  /** One still of this length, and the picture after it. */
  stands(ms: number): void {
    this.ladder.stalled();
    this.pass(ms);
    this.ladder.plays();
    this.shows();
  }

  /** So long, thirty pictures a second; each time that the upper variant is loaded, this happens after a third of a second. */
  play(seconds: number, above: () => void = () => {}): void {
    const endMs = this.timeMs + seconds * 1_000;
    let pictures = 0;
    while (this.timeMs < endMs) {
      this.pass(33);
      this.shows();
      if (this.level > 0 && ++pictures % 10 === 0) above();
    }
  }
}

describe('the ladder', () => {
  let world: World;
  const narrow = (): void => world.stands(100);

  beforeEach(() => {
    world = new World();
    world.shows();
  });

  it('goes down when the picture stands still again and again, and not for a moment', () => {
    for (const pauseMs of [4_900, 900]) {
      world.stands(100);
      world.pass(pauseMs);
    }
    world.stands(100);
    expect(world.steps).toEqual([]);
    world.pass(900);
    world.stands(100);
    expect(world.steps).toEqual(['down']);
    for (let times = 0; times < 4; times++) world.stands(100);
    expect(world.steps).toEqual(['down']);
  });

  it('goes down while a picture stands still for long', () => {
    world.ladder.stalled();
    world.pass(990);
    expect(world.steps).toEqual([]);
    world.pass(20);
    expect(world.steps).toEqual(['down at once']);
  });

  it('takes no still for long that ended', () => {
    for (let times = 0; times < 5; times++) {
      world.stands(900);
      world.play(5);
    }
    expect(world.steps).toEqual([]);
    // A picture tells of its end as well: not every browser says that it plays.
    world.ladder.stalled();
    world.pass(500);
    world.shows();
    world.pass(5_000);
    expect(world.steps).toEqual([]);
  });

  it('is not deceived by a picture that is told of late, nor by a still that is told of twice', () => {
    world.ladder.stalled();
    world.pass(30);
    world.shows();
    world.pass(500);
    world.ladder.stalled();
    world.pass(480);
    expect(world.steps).toEqual(['down at once']);
  });

  it('goes down on while a picture stands on, and no further than there is', () => {
    world.levels = world.level = 3;
    world.level = 2;
    world.shows();
    world.stands(1_500);
    expect(world.level).toBe(1);
    world.stands(10_000);
    expect(world.level).toBe(0);
    const steps = world.steps.length;
    world.stands(10_000);
    expect(world.steps.length).toBe(steps);
  });

  it('does not flap where long stills come again and again', () => {
    // Each time that it is up, the next second and a half stand still.
    world.play(600, () => world.stands(1_500));
    expect(world.steps[0]).toBe('down at once');
    expect(world.steps.length).toBeLessThan(30);
    const pauses = world.ups.slice(1).map((at, index) => at - (world.ups[index] ?? 0));
    expect(Math.min(...pauses)).toBeGreaterThan(6_000);
    expect(Math.max(...pauses)).toBeGreaterThan(90_000);
  });

  it('goes up when nothing stood still for a while', () => {
    world.play(5, narrow);
    expect(world.steps).toEqual(['down']);
    const fellMs = world.timeMs;
    world.play(10);
    expect((world.ups[0] ?? 0) - fellMs).toBeGreaterThan(1_000);
    world.play(60);
    expect(world.steps).toEqual(['down', 'up']);
  });

  it('tries more and more seldom where there is no room, and forgets that', () => {
    world.play(600, narrow);
    expect(world.ups.length).toBeGreaterThan(4);
    expect(world.ups.length).toBeLessThan(14);
    world.play(300);
    world.play(5, narrow);
    const fellMs = world.timeMs;
    world.play(30);
    expect((world.ups.at(-1) ?? Infinity) - fellMs).toBeLessThan(10_000);
  });

  it('has nothing to do where there is one variant', () => {
    world.levels = 1;
    world.level = 0;
    world.shows();
    world.play(60);
    world.stands(20_000);
    for (let times = 0; times < 4; times++) world.stands(100);
    expect(world.steps).toEqual([]);
  });

  it('does nothing more when it is closed', () => {
    world.ladder.stalled();
    world.ladder.close();
    world.pass(10_000);
    expect(world.steps).toEqual([]);
  });
});
