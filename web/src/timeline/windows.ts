/**
 * What is known of the past, in windows: a camera, a layer, a level, and which of its windows. The least recently used goes.
 *
 * Belongs here: what is kept, and what has to be asked again. Does not belong here: asking (`recordings`).
 */
import { windowSpan, type Span } from './axis';

export const LAYERS = ['ranges', 'motion', 'events'] as const;
export type Layer = (typeof LAYERS)[number];

export interface Window {
  readonly camera: string;
  readonly layer: Layer;
  readonly level: number;
  readonly index: number;
}

interface Kept<T> {
  readonly window: Window;
  readonly value: T;
  readonly bytes: number;
  /** When it was asked for, by the server's clock. */
  askedMs: number;
  /** Something happened since. */
  isOld: boolean;
}

export class Windows<T> {
  /** In the order of their last use. */
  #layers = new Map<Layer, Map<string, Kept<T>>>(LAYERS.map((layer) => [layer, new Map()]));
  /** So many of a layer are looked at now. */
  #least = new Map<Layer, number>();

  /** What is looked at now is kept, however many windows it is: else one would make another be asked for again, for ever. */
  atLeast(windows: readonly Window[]): void {
    this.#least.clear();
    for (const { layer } of windows) this.#least.set(layer, (this.#least.get(layer) ?? 0) + 1);
  }

  /** What is kept of it, also where it is to be asked again. */
  get(window: Window): T | null {
    const layer = this.#layer(window);
    const key = keyOf(window);
    const kept = layer.get(key);
    if (!kept) return null;
    layer.delete(key);
    layer.set(key, kept);
    return kept.value;
  }

  /** `bytes`: about what it takes. */
  set(window: Window, value: T, bytes: number, askedMs: number): void {
    const layer = this.#layer(window);
    const key = keyOf(window);
    layer.delete(key);
    layer.set(key, { window, value, bytes, askedMs, isOld: false });
    const most = Math.max(MAX_WINDOWS, this.#least.get(window.layer) ?? 0);
    for (const [oldest] of layer) {
      if (layer.size <= most && bytesOf(layer) <= MAX_BYTES) return;
      // The newest stays in any case: else it would be asked for again and again.
      if (oldest !== key) layer.delete(oldest);
    }
  }

  /** Whether it has to be asked for: it is not known, or it is another by now. What lies in the past does not change by itself. */
  isDue(window: Window, nowMs: number): boolean {
    const kept = this.#layer(window).get(keyOf(window));
    if (!kept) return true;
    if (nowMs - kept.askedMs < AGAIN_MS) return false;
    const { to } = windowSpan(window.level, window.index);
    // What was not over when it was asked for goes on; what is in the future has nothing yet.
    const { from } = windowSpan(window.level, window.index);
    return kept.isOld || (to > kept.askedMs - SETTLED_MS && from <= nowMs);
  }

  /** Recordings of a camera within a span are others: they began, or were deleted. `null`: of all cameras. */
  happened(camera: string | null, span: Span): void {
    for (const layer of this.#layers.values()) {
      for (const kept of layer.values()) {
        if (camera !== null && kept.window.camera !== camera) continue;
        const { from, to } = windowSpan(kept.window.level, kept.window.index);
        if (from < span.to && span.from < to) kept.isOld = true;
      }
    }
  }

  /** Of all layers: how many, and how large. */
  size(): { windows: number; bytes: number } {
    let [windows, bytes] = [0, 0];
    for (const layer of this.#layers.values()) {
      windows += layer.size;
      bytes += bytesOf(layer);
    }
    return { windows, bytes };
  }

  #layer({ layer }: Window): Map<string, Kept<T>> {
    let found = this.#layers.get(layer);
    if (!found) this.#layers.set(layer, (found = new Map()));
    return found;
  }
}

function bytesOf(layer: ReadonlyMap<string, Kept<unknown>>): number {
  let sum = 0;
  for (const { bytes } of layer.values()) sum += bytes;
  return sum;
}

export function keyOf({ camera, layer, level, index }: Window): string {
  return `${layer} ${level} ${index} ${camera}`;
}

/** A layer, where no more are looked at. */
export const MAX_WINDOWS = 64;
/** A layer. */
export const MAX_BYTES = 8 * 1_024 * 1_024;
/** Not more often than this. */
export const AGAIN_MS = 5_000;
/** So late something may come into a window that is over: a file that is finished, motion that ended. */
const SETTLED_MS = 15_000;
