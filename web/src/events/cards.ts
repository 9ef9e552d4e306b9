/** What happened, as cards to look through: events of a camera that are close to each other are one. Functions of their arguments. */
import type { Recorded } from '../timeline/recordings';

export interface Card {
  /** The same as long as its first event is. */
  readonly key: string;
  readonly camera: string;
  readonly from: number;
  readonly to: number;
  /** In the order of their first. */
  readonly kinds: readonly string[];
  readonly events: number;
  /** The greatest. */
  readonly score: number | null;
}

/** Newest first. */
export function cards(events: readonly Recorded[]): Card[] {
  const order = [...events].sort((a, b) => a.from - b.from || a.id - b.id);
  const open = new Map<string, Card>();
  const all: Card[] = [];
  for (const event of order) {
    const before = open.get(event.camera);
    // Something that goes on for minutes is told in pieces: a card of an hour shows nothing.
    if (before && event.from - before.to <= CLOSE_MS && event.to - before.from <= LONGEST_MS) {
      const joined = join(before, event);
      all[all.indexOf(before)] = joined;
      open.set(event.camera, joined);
      continue;
    }
    const card: Card = { key: `${event.camera}@${event.id}`, camera: event.camera, from: event.from, to: event.to, kinds: [event.kind], events: 1, score: event.score };
    open.set(event.camera, card);
    all.push(card);
  }
  return all.sort((a, b) => b.from - a.from || (a.camera < b.camera ? -1 : 1));
}

function join(card: Card, event: Recorded): Card {
  return {
    ...card,
    to: Math.max(card.to, event.to),
    kinds: card.kinds.includes(event.kind) ? card.kinds : [...card.kinds, event.kind],
    events: card.events + 1,
    score: event.score === null ? card.score : Math.max(card.score ?? 0, event.score),
  };
}

/** Two are one card when no more than this is between them. */
const CLOSE_MS = 10_000;
const LONGEST_MS = 180_000;

/** What of `localStorage` is needed. */
export type Kept = Pick<Storage, 'getItem' | 'setItem'>;

/** Which cards somebody has looked at: in this browser, until the server keeps it for each account. The newest 2,000. */
export class Reviewed {
  #keys: Set<string>;

  constructor(private readonly kept: Kept) {
    this.#keys = new Set(read(kept));
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  set(keys: readonly string[], reviewed: boolean): void {
    for (const key of keys) {
      this.#keys.delete(key);
      if (reviewed) this.#keys.add(key);
    }
    this.#keys = new Set([...this.#keys].slice(-MAX_REVIEWED));
    try {
      this.kept.setItem(KEY, JSON.stringify([...this.#keys]));
    } catch {
      // It holds until the page is left.
    }
  }
}

function read(kept: Kept): string[] {
  try {
    const keys: unknown = JSON.parse(kept.getItem(KEY) ?? '[]');
    return Array.isArray(keys) ? keys.filter((key) => typeof key === 'string').slice(-MAX_REVIEWED) : [];
  } catch {
    return [];
  }
}

export const MAX_REVIEWED = 2_000;
const KEY = 'sightline.reviewed';
