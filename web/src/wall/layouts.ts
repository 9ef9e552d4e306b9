/**
 * Where layouts are kept. In this browser, until the server keeps them for each account: who calls this does not see the difference.
 */
import { MAX_TEXT, parse, type Layout } from './grid';

export interface Layouts {
  /** Names in order. */
  list(): Promise<readonly string[]>;
  get(name: string): Promise<Layout | null>;
  /** Fails with words for people. */
  put(name: string, layout: Layout): Promise<void>;
  remove(name: string): Promise<void>;
}

/** What of `localStorage` is needed. */
export type Kept = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

export class LocalLayouts implements Layouts {
  constructor(private readonly kept: Kept) {}

  list(): Promise<readonly string[]> {
    return Promise.resolve(Object.keys(this.#all()).sort((a, b) => a.localeCompare(b)));
  }

  get(name: string): Promise<Layout | null> {
    const text = this.#all()[name];
    return Promise.resolve(text === undefined ? null : parse(text));
  }

  async put(name: string, layout: Layout): Promise<void> {
    const text = JSON.stringify(layout);
    if (text.length > MAX_TEXT) throw new Error('too-large');
    const all = this.#all();
    if (!(name in all) && Object.keys(all).length >= MAX_LAYOUTS) throw new Error('too-many');
    this.kept.setItem(KEY, JSON.stringify({ ...all, [name]: text }));
  }

  async remove(name: string): Promise<void> {
    const { [name]: _, ...rest } = this.#all();
    this.kept.setItem(KEY, JSON.stringify(rest));
  }

  /** What a browser kept may be anything: others write there, too. */
  #all(): Record<string, string> {
    try {
      const read: unknown = JSON.parse(this.kept.getItem(KEY) ?? '{}');
      if (typeof read !== 'object' || read === null) return {};
      const texts = Object.entries(read).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
      return Object.fromEntries(texts.slice(0, MAX_LAYOUTS));
    } catch {
      return {};
    }
  }
}

export const MAX_LAYOUTS = 50;
export const MAX_NAME = 64;
const KEY = 'sightline.layouts';
