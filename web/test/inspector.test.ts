import { describe, expect, it } from 'vitest';
import type { Session } from '../src/api.types';
import { Rates, sorted } from '../src/inspector/rows';

function session(id: number, more: Partial<Session> = {}): Session {
  return {
    id,
    role: 'viewer',
    protocol: 'WebRTC',
    since: '2026-11-23T10:00:00Z',
    bytes: 0,
    packets: 0,
    frames: 0,
    keyframes: 0,
    frames_dropped: 0,
    jumps: 0,
    packets_lost: 0,
    packets_malformed: 0,
    timestamp_jumps: 0,
    jitter_ms: 0,
    rtt_ms: 0,
    waiting_bytes: 0,
    latency_ms: 0,
    ...more,
  };
}

describe('rates', () => {
  it('are bits between two looks', () => {
    const rates = new Rates();
    expect(rates.rows([session(1)], 0)[0]?.kbps).toBeNull();
    expect(rates.rows([session(1, { bytes: 125_000 })], 1_000)[0]?.kbps).toBe(1_000);
    // Told again at once: no other rate, and nothing of it is lost.
    expect(rates.rows([session(1, { bytes: 126_000 })], 1_010)[0]?.kbps).toBe(1_000);
    expect(rates.rows([session(1, { bytes: 250_000 })], 2_000)[0]?.kbps).toBe(1_000);
  });

  it('begin anew for who comes again, and know nobody who is gone', () => {
    const rates = new Rates();
    rates.rows([session(1), session(2)], 0);
    rates.rows([session(1, { bytes: 1_000 })], 1_000);
    expect(rates.rows([session(2, { bytes: 9_000 })], 2_000)[0]?.kbps).toBeNull();
  });
});

describe('order', () => {
  const rows = [
    { session: session(1, { remote: '10.0.0.10:5', packets_lost: 3 }), kbps: 900 },
    { session: session(2, { remote: '10.0.0.9:5', packets_lost: 0 }), kbps: null },
    { session: session(3, { remote: '10.0.0.9:5', packets_lost: 3 }), kbps: 100 },
  ];
  const ids = (by: Parameters<typeof sorted>[1], down: boolean): number[] => sorted(rows, by, down).map((row) => row.session.id);

  it('is that of figures and of addresses', () => {
    expect(ids('kbps', true)).toEqual([1, 3, 2]);
    expect(ids('packets_lost', true)).toEqual([1, 3, 2]);
    expect(ids('packets_lost', false)).toEqual([2, 1, 3]);
    expect(ids('remote', false)).toEqual([2, 3, 1]);
  });
});
