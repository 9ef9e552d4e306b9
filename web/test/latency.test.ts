import { describe, expect, it } from 'vitest';
import { capturedByRtp, Latency, quantile, Recent } from '../src/player/latency';
import type { Picture } from '../src/player/pictures';

const CLOCK = { offsetMs: 1_790_000_000_000, errorMs: 1.5 };

function picture(callbackMs: number, over: Partial<Picture> = {}): Picture {
  const usual = { displayMs: callbackMs + 4, receivedMs: callbackMs - 12, decodingMs: 2, rtpTimestamp: 0, mediaTimeS: 0 };
  return { callbackMs, ...usual, ...over };
}

describe('recent values', () => {
  it('are those of the window, in order', () => {
    const recent = new Recent(1_000);
    for (const [at, value] of [[0, 9], [500, 3], [1_200, 5], [1_400, 1]] as const) recent.add(at, value);
    expect(recent.sorted(1_400, 1_000)).toEqual([1, 3, 5]);
    expect(recent.sorted(1_400, 300)).toEqual([1, 5]);
    expect(recent.sorted(9_000, 1_000)).toEqual([]);
  });

  it('are limited in number, however fast they come, and hold figures alone', () => {
    const recent = new Recent(10_000);
    for (let index = 0; index < 100_000; index++) recent.add(0, index);
    recent.add(0, Number.NaN);
    const values = recent.sorted(0, 10_000);
    expect(values.length).toBe(2_400);
    expect(values.at(-1)).toBe(99_999);
  });

  it('have quantiles that occurred', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2);
    expect(quantile([1, 2, 3, 4], 0.95)).toBe(4);
    expect(quantile([7], 0.95)).toBe(7);
    expect(quantile([], 0.5)).toBeNaN();
  });
});

describe('latency', () => {
  it('is counted from the capture to the screen, in legs that add up to it', () => {
    const latency = new Latency();
    latency.describe('capture', 3);
    for (let at = 1_000; at < 12_000; at += 33) latency.add(picture(at), { capturedMs: at - 20 + CLOCK.offsetMs }, CLOCK);
    const report = latency.report(12_000, CLOCK);
    expect(report).toMatchObject({ since: 'capture', errorMs: 1.5 });
    expect(report?.nowMs).toBeCloseTo(24, 3);
    expect(report?.p95Ms).toBeCloseTo(24, 3);
    expect(report?.legs.map((leg) => leg.name)).toEqual([
      'camera to server',
      'server to browser',
      'waiting in the browser',
      'decoding',
      'to the screen',
    ]);
    expect(report?.legs.reduce((sum, leg) => sum + leg.ms, 0)).toBeCloseTo(24, 3);
  });

  it('goes by when the picture came, not by when the page heard of it', () => {
    const latency = new Latency();
    latency.describe('capture', null);
    latency.add(picture(1_016, { displayMs: 1_000, receivedMs: 990 }), { capturedMs: 980 + CLOCK.offsetMs }, CLOCK);
    const report = latency.report(1_016, CLOCK);
    expect(report?.nowMs).toBeCloseTo(20, 3);
    expect(report?.legs.find((leg) => leg.name === 'to the screen')?.ms).toBe(0);
    expect(report?.legs.find((leg) => leg.name === 'waiting in the browser')?.ms).toBeCloseTo(8, 3);
  });

  it('shows the last second, and the spread of the last ten', () => {
    const latency = new Latency();
    for (let at = 0; at < 9_000; at += 100) latency.add(picture(at), { capturedMs: at - 50 + CLOCK.offsetMs }, CLOCK);
    for (let at = 9_000; at < 10_000; at += 100) latency.add(picture(at), { capturedMs: at - 150 + CLOCK.offsetMs }, CLOCK);
    const report = latency.report(9_999, CLOCK);
    expect(report?.nowMs).toBeCloseTo(154, 3);
    expect(report?.p50Ms).toBeCloseTo(54, 3);
    expect(report?.p95Ms).toBeCloseTo(154, 3);
  });

  it('by HLS says how much lies ready in the browser', () => {
    const latency = new Latency();
    latency.describe('arrival', null);
    const shown = picture(1_000, { receivedMs: null, decodingMs: null });
    latency.add(shown, { capturedMs: 600 + CLOCK.offsetMs, bufferedMs: 250 }, CLOCK);
    const legs = latency.report(1_000, CLOCK)?.legs;
    expect(legs?.find((leg) => leg.name === 'waiting in the browser')?.ms).toBe(250);
    expect(legs?.find((leg) => leg.name === 'server to browser')?.ms).toBeCloseTo(150, 3);
  });

  it('without a capture time or a clock is counted from arrival here, and says so', () => {
    const latency = new Latency();
    latency.describe('capture', null);
    latency.add(picture(1_000), { capturedMs: null }, CLOCK);
    expect(latency.report(1_000, CLOCK)).toMatchObject({ since: 'received', nowMs: 16, errorMs: 0 });
    const clockless = new Latency();
    clockless.add(picture(1_000), { capturedMs: 5 }, null);
    expect(clockless.report(1_000, null)?.since).toBe('received');
    const nothing = new Latency();
    nothing.add(picture(1_000, { receivedMs: null }), { capturedMs: null }, CLOCK);
    expect(nothing.report(1_000, CLOCK)).toBeNull();
  });

  it('of a stream without a time of its own is counted from its arrival at the server', () => {
    const latency = new Latency();
    // Another publisher with a clock was there under this name.
    latency.describe('capture', 80);
    latency.add(picture(1_000), { capturedMs: 900 + CLOCK.offsetMs }, CLOCK);
    latency.describe('arrival', 80);
    latency.add(picture(2_000), { capturedMs: 1_980 + CLOCK.offsetMs }, CLOCK);
    const report = latency.report(2_000, CLOCK);
    expect(report).toMatchObject({ since: 'arrival', p50Ms: 24 });
    expect(report?.legs[0]).toEqual({ name: 'server to browser', ms: 8 });
  });

  it('has one leg to the browser where nobody knows how old pictures were at the server', () => {
    for (const [since, name] of [['capture', 'camera to browser'], ['sender', 'sender to browser']] as const) {
      const latency = new Latency();
      latency.describe(since, null);
      latency.add(picture(1_000), { capturedMs: 980 + CLOCK.offsetMs }, CLOCK);
      expect(latency.report(1_000, CLOCK)?.legs[0]).toEqual({ name, ms: 8 });
    }
  });

  it('never mixes figures that mean different things', () => {
    const latency = new Latency();
    latency.add(picture(1_000), { capturedMs: null }, CLOCK);
    latency.describe('capture', null);
    latency.add(picture(1_033), { capturedMs: 500 + CLOCK.offsetMs }, CLOCK);
    const report = latency.report(1_033, CLOCK);
    expect(report?.since).toBe('capture');
    expect(report?.p50Ms).toBeCloseTo(537, 3);
  });

  it('of a picture that stands still is not shown any more', () => {
    const latency = new Latency();
    latency.add(picture(1_000), { capturedMs: 990 + CLOCK.offsetMs }, CLOCK);
    expect(latency.report(1_900, CLOCK)).not.toBeNull();
    expect(latency.report(2_100, CLOCK)).toBeNull();
  });
});

describe('the capture time by RTP timestamps', () => {
  const NTP = 2_208_988_800_000;
  const at = 1_790_000_000_000;

  it('is that of another picture and the ticks between them', () => {
    const reference = { rtpTimestamp: 900_000, captureNtpMs: at + NTP };
    expect(capturedByRtp(900_000, reference, at)).toBe(at);
    expect(capturedByRtp(897_000, reference, at)).toBeCloseTo(at - 33.333, 2);
  });

  it('goes on when the timestamps come round', () => {
    const reference = { rtpTimestamp: 4_294_967_000, captureNtpMs: at + NTP };
    expect(capturedByRtp(704, reference, at)).toBeCloseTo(at + 11.111, 2);
  });

  it('goes on when the seconds of NTP come round in 2036', () => {
    const later = 2_090_000_000_000;
    const reference = { rtpTimestamp: 0, captureNtpMs: later + NTP - 2 ** 32 * 1_000 };
    expect(capturedByRtp(0, reference, later)).toBe(later);
  });

  it('is not told by a picture that is far away', () => {
    expect(capturedByRtp(0, { rtpTimestamp: 900_000, captureNtpMs: at + NTP }, at)).toBeNull();
  });
});
