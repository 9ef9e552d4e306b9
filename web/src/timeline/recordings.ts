/** What is recorded, as the server tells it, and asking for the windows that a view needs: few at a time, those that are looked at now. */
import { Problem, type Api, type Query } from '../api';
import { windowSpan, type Span } from './axis';
import { keyOf, type Window, type Windows } from './windows';

export interface Range extends Span {
  /** It lies in the archive alone, or there too. */
  readonly archived: boolean;
}

export interface Recorded {
  readonly id: number;
  readonly camera: string;
  readonly kind: string;
  readonly from: number;
  readonly to: number;
  readonly score: number | null;
}

/** 0 to 255 a step. */
export interface Motion {
  readonly from: number;
  readonly stepMs: number;
  readonly values: Uint8Array;
}

export type Layered = { readonly ranges: readonly Range[] } | { readonly motion: Motion | null } | { readonly events: readonly Recorded[] };

export interface Camera extends Span {
  readonly name: string;
}

/** What deleting a range would do. */
export interface Weight {
  readonly files: number;
  readonly bytes: number;
  /** Protected ranges that have a part in it. */
  readonly protected: readonly (Span & { readonly why: string })[];
  /** There is more than was counted. */
  readonly more: boolean;
}

interface Timed {
  readonly start: string;
  readonly end: string;
}
interface Page {
  readonly next: string | null;
}

export class Recordings {
  constructor(private readonly api: Api) {}

  async cameras(): Promise<Camera[]> {
    const { cameras } = await this.api.get<{ cameras: readonly { camera: string; oldest: string; newest: string }[] }>('recordings/cameras');
    return cameras.map(({ camera, oldest, newest }) => ({ name: camera, from: Date.parse(oldest), to: Date.parse(newest) }));
  }

  async ranges(camera: string, span: Span, resolutionMs: number, signal?: AbortSignal): Promise<Range[]> {
    type Answer = Page & { recordings: readonly Timed[]; archived?: readonly Timed[] };
    const found: Range[] = [];
    await this.#pages<Answer>('recordings', { camera, ...queryOf(span), resolution_ms: Math.floor(resolutionMs) }, signal, (answer) => {
      for (const timed of answer.archived ?? []) found.push({ ...spanOf(timed), archived: true });
      for (const timed of answer.recordings) found.push({ ...spanOf(timed), archived: false });
    });
    return found;
  }

  async motion(camera: string, span: Span, resolutionMs: number, signal?: AbortSignal): Promise<Motion> {
    const query = { ...queryOf(span), resolution_ms: Math.floor(resolutionMs) };
    const told = await this.api.get<Timed & { resolution_ms: number; intensity: readonly number[] }>(`recordings/${encodeURIComponent(camera)}/motion`, query, signal);
    return { from: Date.parse(told.start), stepMs: told.resolution_ms, values: Uint8Array.from(told.intensity) };
  }

  async events(camera: string, span: Span, signal?: AbortSignal, most = MAX_EVENTS): Promise<Recorded[]> {
    type Answer = Page & { events: readonly (Timed & { id: number; camera: string; kind: string; score: number | null })[] };
    const found: Recorded[] = [];
    await this.#pages<Answer>('recordings/events', { camera, ...queryOf(span) }, signal, ({ events }) => {
      for (const { start, end, id, camera: of, kind, score } of events) {
        if (found.length < most) found.push({ id, camera: of, kind, score, from: Date.parse(start), to: Date.parse(end) });
      }
      return found.length < most;
    });
    return found;
  }

  /** What deleting would take, before it is done: files that lie in the range whole, and have no part in what is protected. */
  async weight(camera: string, span: Span): Promise<Weight> {
    type Answer = Page & { recordings: readonly (Timed & { size_bytes: number; growing?: boolean })[] };
    const all = await this.protected(camera);
    let [files, bytes] = [0, 0];
    const more = await this.#pages<Answer>('recordings', { camera, ...queryOf(span), files: 1 }, undefined, ({ recordings }) => {
      for (const { size_bytes, growing, ...timed } of recordings) {
        const { from, to } = spanOf(timed);
        if (growing || from < span.from || to > span.to || all.some((kept) => kept.from < to && kept.to > from)) continue;
        files++;
        bytes += size_bytes;
      }
    });
    return { files, bytes, more, protected: all.filter(({ from, to }) => from < span.to && span.from < to) };
  }

  async protected(camera: string): Promise<(Span & { why: string })[]> {
    const told = await this.api.get<{ protected: readonly (Timed & { why: string })[] }>('recordings/protected', { camera });
    return told.protected.map(({ why, ...timed }) => ({ ...spanOf(timed), why }));
  }

  protect(camera: string, span: Span, why: string): Promise<void> {
    return this.api.send('PUT', `recordings/protected/${idOf(camera, span)}`, undefined, { why });
  }

  release(camera: string, span: Span): Promise<void> {
    return this.api.send('DELETE', `recordings/protected/${idOf(camera, span)}`);
  }

  /** Answers how many files are gone: all that lie in the range whole, but for those that have a part in what is protected. */
  async remove(camera: string, span: Span): Promise<number> {
    let files = 0;
    // The server deletes nothing of a range in which one file is protected, and a thousand files at a time.
    for (const piece of without(span, await this.protected(camera))) {
      for (let marked = 1; marked > 0; files += marked) marked = await this.#mark(camera, piece);
    }
    return files;
  }

  async #mark(camera: string, span: Span): Promise<number> {
    try {
      return (await this.api.send<{ marked: number }>('DELETE', `recordings/${idOf(camera, span)}`)).marked;
    } catch (failure) {
      // Nothing is left in it, or only what is being recorded.
      if (failure instanceof Problem && (failure.status === 404 || failure.code === 'being-recorded')) return 0;
      throw failure;
    }
  }

  listUrl(camera: string, span: Span): URL {
    return this.api.url(`recordings/${encodeURIComponent(camera)}/index.m3u8`, queryOf(span));
  }

  frameUrl(camera: string, at: number, width: number): URL {
    return this.api.url(`recordings/${encodeURIComponent(camera)}/frame.jpg`, { at: Math.round(at), width });
  }

  stripUrl(camera: string, span: Span): URL {
    return this.api.url(`recordings/${encodeURIComponent(camera)}/strip.jpg`, { ...queryOf(span), width: STRIP_WIDTH, tiles: 60 });
  }

  /** Answers whether there is more than was read. */
  async #pages<T extends Page>(path: string, query: Query, signal: AbortSignal | undefined, take: (page: T) => boolean | void): Promise<boolean> {
    let asked: [string, Query] = [path, query];
    for (let page = 0; page < MAX_PAGES; page++) {
      const answer = await this.api.get<T>(...asked, signal);
      if (take(answer) === false) return true;
      if (answer.next === null) return false;
      // The next is told as a path of the server's root, which a proxy may have put elsewhere.
      const next = new URL(answer.next, 'http://server/');
      asked = [path, Object.fromEntries(next.searchParams)];
    }
    return true;
  }
}

/** What is left of a span. */
export function without(span: Span, gone: readonly Span[]): Span[] {
  const left: Span[] = [];
  let { from } = span;
  for (const one of [...gone].sort((a, b) => a.from - b.from)) {
    if (one.to <= from || one.from >= span.to) continue;
    if (one.from > from) left.push({ from, to: one.from });
    from = one.to;
  }
  if (from < span.to) left.push({ from, to: span.to });
  return left;
}

function queryOf({ from, to }: Span): { start: number; end: number } {
  return { start: Math.round(from), end: Math.round(to) };
}

function spanOf({ start, end }: Timed): Span {
  return { from: Date.parse(start), to: Date.parse(end) };
}

/** As the server names ranges: in microseconds. */
function idOf(camera: string, { from, to }: Span): string {
  return encodeURIComponent(`${camera}@${Math.round(from)}000-${Math.round(to)}000`);
}

/** Asks for windows, the wanted ones alone. */
export class Loader {
  #wanted: readonly Window[] = [];
  #underway = new Map<string, AbortController>();
  /** Asked for since the view was told last. What is too large to be kept beside the others is not asked for again before it is told again. */
  #asked = new Set<string>();
  /** Of those that failed: not again before then. */
  #later = new Map<string, number>();

  constructor(
    private readonly recordings: Recordings,
    private readonly windows: Windows<Layered>,
    /** By the server's clock, ms. */
    private readonly now: () => number,
    private readonly changed: (failure: unknown) => void,
  ) {}

  /** What is looked at now takes the place of what was. */
  want(windows: readonly Window[]): void {
    this.#wanted = windows;
    this.windows.atLeast(windows);
    // In the order of the view: those of before go first.
    for (const window of windows) this.windows.get(window);
    this.#asked.clear();
    const keys = new Set(windows.map(keyOf));
    for (const [key, abort] of this.#underway) {
      if (!keys.has(key)) abort.abort();
    }
    this.#next();
  }

  close(): void {
    this.want([]);
    this.#later.clear();
  }

  #next(): void {
    const now = this.now();
    for (const window of this.#wanted) {
      if (this.#underway.size >= UNDERWAY) return;
      const key = keyOf(window);
      if (this.#asked.has(key) || this.#underway.has(key) || (this.#later.get(key) ?? 0) > now || !this.windows.isDue(window, now)) continue;
      this.#asked.add(key);
      void this.#load(window, key, now);
    }
  }

  async #load(window: Window, key: string, askedMs: number): Promise<void> {
    const abort = new AbortController();
    this.#underway.set(key, abort);
    let failure: unknown = null;
    try {
      const value = await this.#ask(window, abort.signal);
      this.windows.set(window, value, bytesOf(value), askedMs);
      this.#later.delete(key);
    } catch (error) {
      failure = error;
      if (this.#later.size > MAX_FAILED) this.#later.clear();
      this.#later.set(key, askedMs + FAILED_MS);
    }
    this.#underway.delete(key);
    if (abort.signal.aborted) this.#later.delete(key);
    else this.changed(failure);
    this.#next();
  }

  async #ask({ camera, layer, level, index }: Window, signal: AbortSignal): Promise<Layered> {
    const span = windowSpan(level, index);
    const step = (span.to - span.from) / 512;
    switch (layer) {
      case 'ranges':
        return { ranges: await this.recordings.ranges(camera, span, step, signal) };
      case 'motion':
        return { motion: await this.recordings.motion(camera, span, step, signal) };
      case 'events':
        return { events: await this.recordings.events(camera, span, signal) };
    }
  }
}

/** About what a value takes. */
function bytesOf(value: Layered): number {
  if ('ranges' in value) return 200 + value.ranges.length * 64;
  if ('events' in value) return 200 + value.events.length * 200;
  return 200 + (value.motion?.values.byteLength ?? 0);
}

const STRIP_WIDTH = 160;
/** Of an answer; a window has 512 steps, and a page 10,000 ranges or 1,000 files. */
const MAX_PAGES = 10;
/** Of a window: more are not told apart on it. */
const MAX_EVENTS = 500;
const UNDERWAY = 4;
const FAILED_MS = 5_000;
const MAX_FAILED = 256;
