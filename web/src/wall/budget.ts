/**
 * Which tiles of a wall play, and in which rendition: rules without a browser.
 *
 * Only what is seen plays, and no more than the browser carries. Where it does not keep up, half of it stops, and is tried again later. The rest are stills.
 */

/** A tile as the wall shows it now. */
export interface Shown {
  readonly camera: string;
  /** On the screen, at least a part of it. */
  readonly seen: boolean;
  readonly focused: boolean;
  /** Pixels of the screen that it takes. */
  readonly pixels: number;
  /** Whether somebody publishes it. */
  readonly live: boolean;
  /** The name of its lower rendition. */
  readonly low: string | null;
}

/** What a tile plays: the name of a stream, or `null` for stills. */
export type Plan = ReadonlyMap<string, string | null>;

export interface Limits {
  /** Sessions at a time. */
  readonly most: number;
  /** Where each tile by LL-HLS holds two of the six connections of a browser. */
  readonly mostByHls: number;
}

export class Budget {
  #most: number;
  #poorSince: number | null = null;
  #againAt: number | null = null;
  #hiddenSince: number | null = null;

  constructor(
    private readonly limits: Limits,
    /** Whether pictures go on while nobody looks, now. */
    private readonly kiosk: () => boolean,
  ) {
    this.#most = limits.most;
  }

  /** Fewer play than could, as the browser did not keep up. */
  get halved(): boolean {
    return this.#most < this.limits.most;
  }

  /** Nobody has looked for so long that sessions are over. */
  asleep(nowMs: number): boolean {
    return !this.kiosk() && this.#hiddenSince !== null && nowMs - this.#hiddenSince >= ASLEEP_MS;
  }

  hidden(hidden: boolean, nowMs: number): void {
    if (!hidden) this.#hiddenSince = null;
    else this.#hiddenSince ??= nowMs;
    this.#poorSince = null;
  }

  /**
   * Who plays what, by camera. Those that play already go on before others of the same size begin; `byHls`: those that do by LL-HLS over connections that are few.
   */
  plan(tiles: readonly Shown[], before: Plan, byHls: ReadonlySet<string>, nowMs: number): Plan {
    const plan = new Map<string, string | null>(tiles.map(({ camera }) => [camera, null]));
    if (this.asleep(nowMs)) return plan;
    const wanted = tiles.filter(({ seen, live }) => seen && live);
    const rank = (tile: Shown): number => (tile.focused ? 2 : 0) + (before.get(tile.camera) ? 1 : 0);
    const order = [...wanted].sort((a, b) => rank(b) - rank(a) || b.pixels - a.pixels);
    let hls = 0;
    let playing = 0;
    for (const tile of order) {
      if (playing >= this.#most || plan.get(tile.camera)) continue;
      if (byHls.has(tile.camera) && ++hls > this.limits.mostByHls) continue;
      plan.set(tile.camera, tile.focused || tile.low === null || tile.pixels > FULL_PIXELS ? tile.camera : tile.low);
      playing++;
    }
    return plan;
  }

  /** Once a second: which share of its pictures each playing tile showed. Answers whether the plan is another now. */
  observe(shares: readonly number[], nowMs: number): boolean {
    if (this.#againAt !== null && nowMs >= this.#againAt) {
      this.#againAt = null;
      this.#most = this.limits.most;
      this.#poorSince = null;
      return true;
    }
    const poor = shares.filter((share) => share < POOR).length;
    if (poor < POOR_TILES || this.#hiddenSince !== null) {
      this.#poorSince = null;
      return false;
    }
    this.#poorSince ??= nowMs;
    if (nowMs - this.#poorSince < POOR_MS) return false;
    this.#poorSince = null;
    this.#most = Math.max(1, Math.floor(shares.length / 2));
    this.#againAt = nowMs + AGAIN_MS;
    return true;
  }
}

/** Which tiles play by LL-HLS, or did within a minute: one that was stopped for that would fall back again, and hold two connections meanwhile. */
export class FellBack {
  #at = new Map<string, number>();

  /** Once a second: what plays now. Answers the same set as before where nothing is another. */
  observe(paces: ReadonlyMap<string, { readonly byHls: boolean }>, before: ReadonlySet<string>, nowMs: number): ReadonlySet<string> {
    for (const [camera, { byHls }] of paces) {
      if (byHls) this.#at.set(camera, nowMs);
      else this.#at.delete(camera);
    }
    for (const [camera, at] of this.#at) if (nowMs - at > AGAIN_MS) this.#at.delete(camera);
    const same = before.size === this.#at.size && [...before].every((camera) => this.#at.has(camera));
    return same ? before : new Set(this.#at.keys());
  }
}

/** Two tiles below this share of their pictures for so long: too much plays. */
const POOR = 0.6;
const POOR_TILES = 2;
const POOR_MS = 5_000;
const AGAIN_MS = 60_000;
const ASLEEP_MS = 60_000;
/** A tile that is larger is worth the full rendition: the lower one has 640 × 360 at the most, and looks it. */
const FULL_PIXELS = 900 * 506;
/** Phones decode fewer. */
export const DESKTOP: Limits = { most: 16, mostByHls: 2 };
export const PHONE: Limits = { most: 4, mostByHls: 2 };
