/** How old the picture on the screen is, and where the time went: from pictures and clocks to figures. No browser in here. */
import type { Estimate } from './clock';
import type { Picture } from './pictures';

/** What a capture time is the time of, in the words of the API. */
export type Since = 'capture' | 'sender' | 'arrival';

export interface Leg {
  readonly name: string;
  readonly ms: number;
}

export interface Report {
  /** The last second. */
  readonly nowMs: number;
  /** The last ten seconds. */
  readonly p50Ms: number;
  readonly p95Ms: number;
  /** By how much the clocks may be apart; all figures may be wrong by this. */
  readonly errorMs: number;
  /** `received`: the stream carries no time that this browser tells; counted from its arrival here. */
  readonly since: Since | 'received';
  readonly legs: readonly Leg[];
}

/** What else is known of a picture. */
export interface Known {
  /** Server's UTC, ms since 1970. */
  readonly capturedMs: number | null;
  /** HLS: what lies ready behind the picture. */
  readonly bufferedMs?: number;
}

export class Latency {
  #total = new Recent(WINDOW_MS);
  #delivery = new Recent(WINDOW_MS);
  #buffer = new Recent(WINDOW_MS);
  #decoding = new Recent(WINDOW_MS);
  #screen = new Recent(WINDOW_MS);
  #counted: Since | 'received' = 'received';

  #since: Since = 'sender';
  #toServerMs: number | null = null;

  /** What capture times of this stream are, and how old the newest picture was at the server; `null`: not known. */
  describe(since: Since, toServerMs: number | null): void {
    this.#since = since;
    // Where pictures carry no time, they were of no age that is known: a figure is that of another publisher.
    this.#toServerMs = since === 'arrival' ? null : toServerMs;
  }

  /** A picture came onto the screen. */
  add(picture: Picture, known: Known, clock: Estimate | null): void {
    const at = picture.callbackMs;
    const byCapture = clock !== null && known.capturedMs !== null;
    const from = byCapture ? known.capturedMs - clock.offsetMs : picture.receivedMs;
    if (from === null) return;
    const counted = byCapture ? this.#since : 'received';
    // Figures of two meanings are not mixed.
    if (counted !== this.#counted) this.clear();
    this.#counted = counted;
    this.#total.add(at, picture.displayMs - from);
    // The callback may come after the picture did.
    const handedMs = Math.min(picture.callbackMs, picture.displayMs);
    this.#screen.add(at, picture.displayMs - handedMs);
    if (picture.decodingMs !== null) this.#decoding.add(at, picture.decodingMs);
    if (picture.receivedMs !== null) {
      this.#delivery.add(at, picture.receivedMs - from);
      this.#buffer.add(at, handedMs - picture.receivedMs - (picture.decodingMs ?? 0));
    } else if (known.bufferedMs !== undefined) {
      this.#buffer.add(at, known.bufferedMs);
      this.#delivery.add(at, handedMs - from - known.bufferedMs);
    }
  }

  clear(): void {
    for (const recent of [this.#total, this.#delivery, this.#buffer, this.#decoding, this.#screen]) recent.clear();
  }

  report(nowMs: number, clock: Estimate | null): Report | null {
    const all = this.#total.sorted(nowMs, WINDOW_MS);
    const last = this.#total.sorted(nowMs, NOW_MS);
    const counted = this.#counted;
    if (last.length === 0 || (clock === null && counted !== 'received')) return null;
    return {
      nowMs: quantile(last, 0.5),
      p50Ms: quantile(all, 0.5),
      p95Ms: quantile(all, 0.95),
      errorMs: counted === 'received' ? 0 : (clock?.errorMs ?? 0),
      since: counted,
      legs: this.#legs(nowMs),
    };
  }

  #legs(nowMs: number): Leg[] {
    const legs: Leg[] = [];
    const middle = (recent: Recent): number | null => {
      const values = recent.sorted(nowMs, WINDOW_MS);
      return values.length === 0 ? null : quantile(values, 0.5);
    };
    const push = (name: string, ms: number | null): void => {
      if (ms !== null) legs.push({ name, ms });
    };
    const delivery = middle(this.#delivery);
    if (this.#counted !== 'received') {
      const server = this.#toServerMs;
      if (server === null) push(BOTH_LEGS[this.#counted], delivery);
      else {
        push(FIRST_LEG[this.#counted], server);
        push('server to browser', delivery === null ? null : delivery - server);
      }
    }
    push('waiting in the browser', middle(this.#buffer));
    push('decoding', middle(this.#decoding));
    push('to the screen', middle(this.#screen));
    return legs;
  }
}

/** The values of the last so many milliseconds; never more than a limit, however fast they come. */
export class Recent {
  #times: number[] = [];
  #values: number[] = [];

  constructor(private readonly windowMs: number) {}

  add(atMs: number, value: number): void {
    if (!Number.isFinite(value)) return;
    this.#times.push(atMs);
    this.#values.push(value);
    let old = 0;
    while (old < this.#times.length && (this.#times[old] ?? 0) < atMs - this.windowMs) old++;
    old = Math.max(old, this.#times.length - MAX_VALUES);
    this.#times.splice(0, old);
    this.#values.splice(0, old);
  }

  clear(): void {
    this.#times = [];
    this.#values = [];
  }

  /** Those that are not older than this, in ascending order. */
  sorted(nowMs: number, ageMs: number): number[] {
    return this.#values.filter((_, index) => (this.#times[index] ?? 0) >= nowMs - ageMs).sort((a, b) => a - b);
  }
}

/** Of values in ascending order: the smallest that so large a share of them does not exceed. */
export function quantile(sorted: readonly number[], share: number): number {
  const index = Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1));
  return sorted[index] ?? Number.NaN;
}

/**
 * The capture time of the picture with this RTP timestamp, by another one of which it is known. Server's UTC, ms since 1970.
 *
 * RTP timestamps of 32 bits come round after 13 hours, NTP's seconds in 2036: both are taken to be near.
 */
export function capturedByRtp(
  rtpTimestamp: number | null,
  reference: { rtpTimestamp: number; captureNtpMs: number },
  nearMs: number,
): number | null {
  const ticks = rtpTimestamp === null ? 0 : (rtpTimestamp - reference.rtpTimestamp) | 0;
  if (Math.abs(ticks) > MAX_REFERENCE_AGE_90K) return null;
  const unixMs = reference.captureNtpMs - NTP_EPOCH_MS;
  const era = Math.round((nearMs - unixMs) / NTP_ERA_MS);
  return unixMs + era * NTP_ERA_MS + ticks / 90;
}

const WINDOW_MS = 10_000;
const NOW_MS = 1_000;
/** Ten seconds of 240 pictures each. */
const MAX_VALUES = 2_400;
const MAX_REFERENCE_AGE_90K = 2 * 90_000;
const NTP_EPOCH_MS = 2_208_988_800_000;
const NTP_ERA_MS = 2 ** 32 * 1_000;
/** Where it is not known how old pictures were at the server. */
const BOTH_LEGS: Record<Since, string> = {
  capture: 'camera to browser',
  sender: 'sender to browser',
  arrival: 'server to browser',
};
const FIRST_LEG: Record<Since, string> = {
  capture: 'camera to server',
  sender: 'sender to server',
  arrival: 'in the server',
};
