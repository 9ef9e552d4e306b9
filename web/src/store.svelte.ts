/** What the page knows of the server, for all components: `feed/` made reactive, and what people say and see happen. */
import { untrack } from 'svelte';
import { createSubscriber } from 'svelte/reactivity';
import { Api } from './api';
import type { Places } from './config';
import { Feed } from './feed/feed';
import { Ring } from './feed/ring';
import type { World } from './feed/socket';
import type { Action, Event, Key, LogLine, Me, Metric, Reason, StreamValue, Values } from './feed/values';
import type { Estimate } from './player/clock';
import { mayTo } from './rights';

/** Of the activity. */
export interface Entry {
  readonly id: number;
  readonly at: Date;
  readonly text: string;
  /** Told by the server; nothing where the page says it of itself. */
  readonly event?: Event;
}

/** Of the chat. */
export interface Line {
  readonly id: number;
  readonly at: Date;
  /** `null`: who looks at this page. */
  readonly from: string | null;
  readonly text: string;
}

/** A word at the edge of the page, gone after some seconds. */
export interface Toast {
  readonly id: number;
  readonly text: string;
  readonly bad: boolean;
}

export class Store {
  readonly api: Api;
  /** Whether the feed's socket is open. */
  reachable = $state(false);
  /** Whether all that holds has been told. */
  known = $state(false);
  /** Nobody is let in by the credential of this page any more. */
  signedOut = $state(false);
  me = $state.raw<Me | null>(null);
  /** Of the program. */
  version = $state<string | null>(null);
  /** Counts the messages with figures. */
  tick = $state(0);
  activity = $state.raw<readonly Entry[]>([]);
  chat = $state.raw<readonly Line[]>([]);
  toasts = $state.raw<readonly Toast[]>([]);

  #feed: Feed;
  #keys = new Map<string, () => void>();
  #streams: readonly StreamValue[] | null = null;
  #readStreams: () => void;
  #numbers = 0;
  #calls = new Set<(event: Event) => void>();
  #unhide: () => void;

  constructor(places: Places, world: World = browserWorld(places)) {
    this.api = new Api(places);
    this.#feed = new Feed({ url: places.live, world });
    this.#feed.on('state', () => this.#state());
    this.#feed.on('figures', () => this.tick++);
    this.#feed.on('event', (event) => this.#event(event));
    this.#feed.on('chat', ({ from, text, at }) => this.#line(from, text, at));
    this.#feed.on('refused', ({ message }) => this.toast(message, true));
    this.#feed.on('streams', () => (this.#streams = null));
    this.#readStreams = createSubscriber((update) => this.#feed.on('streams', update));
    const seen = (): void => this.#feed.hidden(document.hidden);
    const online = (): void => this.#feed.nudge();
    document.addEventListener('visibilitychange', seen);
    window.addEventListener('online', online);
    this.#unhide = () => {
      document.removeEventListener('visibilitychange', seen);
      window.removeEventListener('online', online);
    };
    seen();
  }

  clock = (): Estimate | null => this.#feed.clock();

  /** Reactive once a second: how long the newest question on the feed's socket took there and back. */
  roundTripMs(): number | null {
    void this.tick;
    return this.#feed.roundTripMs();
  }

  get health(): readonly Reason[] {
    return this.get('health') ?? NONE;
  }

  /** Reactive. */
  get<K extends Key>(key: K): Values[K] | undefined {
    let read = this.#keys.get(key);
    if (!read) {
      read = createSubscriber((update) => {
        const end = this.#feed.listen(key, update);
        return () => {
          end();
          this.#keys.delete(key);
        };
      });
      // Read outside of components nothing is listened to, nor kept.
      if ($effect.tracking()) this.#keys.set(key, read);
    }
    read();
    return this.#feed.get(key);
  }

  /** Reactive: what one may see, by name. */
  streams(): readonly StreamValue[] {
    this.#readStreams();
    return (this.#streams ??= this.#feed.streams());
  }

  /** Reactive: the newest; `null` is the machine. Somebody must `want('figures')`. */
  figure(of: string | null, metric: Metric): number | null {
    void this.tick;
    return this.#feed.figure(of, metric);
  }

  /** The last hour; what is not charted has an empty one. Not reactive: read it at each `tick`. */
  ring(of: string | null, metric: Metric): Ring {
    return this.#feed.series(of).ring(metric) ?? NO_PAST;
  }

  /** Until the answer is called. */
  want(topic: string): () => void {
    return this.#feed.want(topic);
  }

  onEvent(call: (event: Event) => void): () => void {
    this.#calls.add(call);
    return () => this.#calls.delete(call);
  }

  onLog(call: (line: LogLine) => void): () => void {
    return this.#feed.on('line', call);
  }

  /** Reactive: whether one may do this to this stream, or to some where none is named. Of what has recordings alone the server says nothing: rights do. */
  may(action: Action, stream?: string): boolean {
    if (stream !== undefined) return this.get(`stream/${stream}`)?.may.includes(action) ?? mayTo(this.me?.rights ?? [], action, stream);
    return this.me?.rights.some(({ actions }) => actions.includes(action)) ?? false;
  }

  /** Reactive: whether one may open a screen. The server is asked all the same. */
  mayOpen({ may, of }: { readonly may: Action | null; readonly of?: 'all' }): boolean {
    const { me } = this;
    if (me === null || may === null) return true;
    return me.rights.some(({ actions, streams }) => actions.includes(may) && (of !== 'all' || streams.includes('all')));
  }

  /** To everybody who looks at a page of this server. The server tells it to the others alone. */
  say(text: string): void {
    if (this.#feed.say(text)) this.#line(null, text, new Date());
  }

  /** Into the activity, as what this page did. */
  log(text: string): void {
    this.#enter({ id: ++this.#numbers, at: new Date(), text });
  }

  toast(text: string, bad = false): void {
    const toast = { id: ++this.#numbers, text, bad };
    this.toasts = [...untrack(() => this.toasts), toast].slice(-MAX_TOASTS);
    setTimeout(() => this.dismiss(toast.id), bad ? TOAST_BAD_MS : TOAST_MS);
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  close(): void {
    this.#unhide();
    this.#feed.close();
  }

  #state(): void {
    const feed = this.#feed;
    [this.reachable, this.known, this.signedOut, this.me, this.version] = [feed.reachable, feed.known, feed.signedOut, feed.me, feed.version];
  }

  #event(event: Event): void {
    // Some are told again after a connection was lost in between.
    if (!this.activity.some((entry) => entry.event?.id === event.id) && !QUIET.test(event.kind)) {
      this.#enter({ id: ++this.#numbers, at: new Date(event.at), text: event.kind, event });
    }
    for (const call of [...this.#calls]) call(event);
  }

  #enter(entry: Entry): void {
    // Effects write into it; none shall run again because of that.
    this.activity = [entry, ...untrack(() => this.activity)].slice(0, MAX_ENTRIES);
  }

  #line(from: string | null, text: string, at: Date): void {
    const line = { id: ++this.#numbers, at, from, text: text.slice(0, MAX_LINE) };
    this.chat = [...untrack(() => this.chat), line].slice(-MAX_ENTRIES);
  }
}

/** The browser's. */
function browserWorld(places: Places): World {
  return {
    open: (url) => new WebSocket(url) as unknown as ReturnType<World['open']>,
    now: () => performance.now(),
    after: (ms, call) => {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
    random: Math.random,
    signedIn: async () => {
      const url = places.live(null);
      url.protocol = url.protocol === 'wss:' ? 'https:' : 'http:';
      const answer = await fetch(url, { signal: AbortSignal.timeout(SIGNED_IN_MS) }).catch(() => null);
      return answer?.status !== 401;
    },
  };
}

const NONE: readonly Reason[] = [];
const NO_PAST = new Ring(1);
const MAX_ENTRIES = 200;
const MAX_LINE = 1_000;
const MAX_TOASTS = 4;
const TOAST_MS = 5_000;
const TOAST_BAD_MS = 12_000;
const SIGNED_IN_MS = 5_000;
/** Of these there are too many to be read one by one. */
const QUIET = /^(connection\.|export\.progress)/;
