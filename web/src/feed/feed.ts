/**
 * What the server says on `/api/v1/live`, kept as what holds now: values by key, figures of the last hour, events since one listens.
 *
 * Belongs here: everything that is true without a page. Does not belong here: what components are made of (`store.svelte.ts`), the connection
 * (`socket.ts`). Nothing in here grows with time: keys go when the server says so, figures are written round, events and chat are handed on and
 * not kept.
 */
import type { Estimate } from '../player/clock';
import { Series } from './ring';
import { Socket, type Message, type World } from './socket';
import type { Event, Key, LogLine, Me, Metric, StreamValue, Values } from './values';

/** What a listener hears by name; keys are listened to by `listen`. */
export interface Told {
  /** `reachable`, `signedOut`, `me` or `version` is another. */
  readonly state: undefined;
  /** Some stream is new, gone or another. */
  readonly streams: undefined;
  readonly figures: undefined;
  readonly event: Event;
  /** So many events are not known any more. */
  readonly missed: number;
  readonly chat: { readonly from: string; readonly text: string; readonly at: Date };
  readonly line: LogLine;
  /** What was said is not taken, in the server's words. */
  readonly refused: { readonly of: string; readonly message: string };
}

type Call<T> = (told: T) => void;

interface Newest {
  readonly atS: number;
  readonly by: Readonly<Record<string, number | null>>;
}

/** Which figure stands where, as the server says in its `hello`. */
interface Names {
  readonly stream: readonly string[];
  readonly system: readonly string[];
}

export interface FeedOptions {
  /** Of the socket; `after`: the newest event that was heard. */
  readonly url: (after: number | null) => URL;
  readonly world: World;
}

export class Feed {
  reachable = false;
  /** Whether all keys have been told since the connection was made. */
  known = false;
  signedOut = false;
  me: Me | null = null;
  version: string | null = null;

  #socket: Socket;
  #values = new Map<string, unknown>();
  #listeners = new Map<string, Set<() => void>>();
  #told = new Map<keyof Told, Set<Call<never>>>();
  #topics = new Map<string, number>();
  #sent: string | null = null;
  #asking = false;
  #hidden = false;
  /** Keys of before, until the server has told all that hold. */
  #unconfirmed = new Set<string>();
  #after: number | null = null;
  #names: Names = { stream: [], system: [] };
  /** By stream; the machine's is under no name. */
  #series = new Map<string, Series>();
  #newest = new Map<string, Newest>();
  /** Of the newest message with figures. */
  #atS = 0;

  constructor(options: FeedOptions) {
    this.#socket = new Socket(options.world, {
      url: () => options.url(this.#after),
      opened: () => this.#opened(),
      closed: () => this.#closed(),
      signedOut: () => {
        this.signedOut = true;
        this.#tell('state', undefined);
      },
      message: (message) => this.#heard(message),
    });
  }

  clock(): Estimate | null {
    return this.#socket.clock();
  }

  /** Of the newest question that was answered. */
  roundTripMs(): number | null {
    return this.reachable ? this.#socket.roundTripMs : null;
  }

  get<K extends Key>(key: K): Values[K] | undefined {
    return this.#values.get(key) as Values[K] | undefined;
  }

  /** Those that are known, by name. */
  streams(): readonly StreamValue[] {
    const found = [...this.#values].filter(([key]) => key.startsWith(STREAM)).map(([, value]) => value as StreamValue);
    return found.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  }

  /** Calls whenever this key's value is another. Answers how to end it. */
  listen(key: Key, call: () => void): () => void {
    return added(this.#listeners, key, call);
  }

  on<T extends keyof Told>(type: T, call: Call<Told[T]>): () => void {
    return added(this.#told as Map<T, Set<Call<Told[T]>>>, type, call);
  }

  /** Asks for a topic until the answer is called; the connection is told once whoever wants it. */
  want(topic: string): () => void {
    this.#topics.set(topic, (this.#topics.get(topic) ?? 0) + 1);
    this.#askSoon();
    let over = false;
    return () => {
      if (over) return;
      over = true;
      const left = (this.#topics.get(topic) ?? 1) - 1;
      if (left > 0) this.#topics.set(topic, left);
      else this.#topics.delete(topic);
      // What is told no more is true no more.
      if (left <= 0 && topic.includes('/')) this.#set(topic, undefined);
      this.#askSoon();
    };
  }

  /** A page that nobody sees wants to know what happens, and nothing else. */
  hidden(hidden: boolean): void {
    if (this.#hidden === hidden) return;
    this.#hidden = hidden;
    this.#askSoon();
    if (!hidden) this.#socket.nudge();
  }

  nudge(): void {
    this.#socket.nudge();
  }

  /** To all others. Answers whether it was sent. */
  say(text: string): boolean {
    return this.#socket.send({ type: 'chat', text });
  }

  /** The newest; nothing while the server is silent, and of what it tells no more. `null` is the machine. */
  figure(of: string | null, metric: Metric): number | null {
    const found = this.reachable ? this.#newest.get(of ?? MACHINE) : undefined;
    return found && Math.abs(this.#atS - found.atS) <= TOLD_S ? (found.by[metric] ?? null) : null;
  }

  /** The last hour, as far as `figures` were wanted. Of more streams than are kept, those that were asked for last have one. */
  series(of: string | null): Series {
    const name = of ?? MACHINE;
    const series = this.#series.get(name) ?? new Series(HOUR_S, CHARTED[of === null ? 'system' : 'stream']);
    this.#series.delete(name);
    this.#series.set(name, series);
    this.#forgetSeries(name);
    return series;
  }

  close(): void {
    this.#socket.close();
    this.#listeners.clear();
    this.#told.clear();
  }

  #opened(): void {
    this.reachable = true;
    this.#sent = null;
    this.#ask();
    this.#tell('state', undefined);
  }

  #closed(): void {
    this.reachable = false;
    this.known = false;
    this.#newest.clear();
    this.#tell('state', undefined);
    this.#tell('figures', undefined);
  }

  #askSoon(): void {
    if (this.#asking) return;
    this.#asking = true;
    queueMicrotask(() => {
      this.#asking = false;
      this.#ask();
    });
  }

  #ask(): void {
    const topics = this.#hidden ? [] : ['keys', ...[...this.#topics.keys()].sort()].slice(0, MAX_TOPICS);
    const asked = topics.join(' ');
    if (asked === this.#sent) return;
    // It is what holds at the beginning of a connection.
    if ((this.#sent === null && asked === 'keys') || this.#socket.send({ type: 'want', topics })) this.#sent = asked;
  }

  #heard(message: Message): void {
    switch (message.type) {
      case 'hello':
        // It also comes while the connection is open: rights are others, and what one may see no more is not told.
        this.#unconfirmed = new Set(this.#values.keys());
        this.me = (message['me'] as Me | undefined) ?? null;
        this.version = typeof message['version'] === 'string' ? message['version'] : null;
        this.#names = { ...this.#names, ...(message['of'] as Partial<Names> | undefined) };
        this.#tell('state', undefined);
        break;
      case 'set':
      case 'gone':
        if (typeof message['key'] === 'string') this.#set(message['key'], message.type === 'set' ? message['value'] : undefined);
        break;
      case 'known':
        this.known = true;
        for (const key of this.#unconfirmed) this.#set(key, undefined);
        this.#tell('streams', undefined);
        this.#tell('state', undefined);
        break;
      case 'figures':
        this.#figures(message);
        break;
      default:
        this.#passOn(message);
    }
  }

  #passOn(message: Message): void {
    const text = (member: string): string => (typeof message[member] === 'string' ? message[member] : '');
    switch (message.type) {
      case 'event': {
        const event = message['event'] as Event | undefined;
        if (typeof event?.id !== 'number' || typeof event.kind !== 'string') break;
        this.#after = Math.max(this.#after ?? 0, event.id);
        this.#tell('event', event);
        break;
      }
      case 'missed':
        this.#tell('missed', Number(message['events']) || 0);
        break;
      case 'chat': {
        const at = new Date(text('at') || Number(message['at'] ?? Number.NaN));
        this.#tell('chat', { from: text('from'), text: text('text'), at: Number.isNaN(at.getTime()) ? new Date() : at });
        break;
      }
      case 'line':
        this.#tell('line', { at: text('at'), level: text('level'), target: text('target'), text: text('text') });
        break;
      case 'error':
        this.#tell('refused', { of: text('of'), message: text('message') });
        break;
    }
  }

  #set(key: string, value: unknown): void {
    this.#unconfirmed.delete(key);
    if (value === undefined ? !this.#values.delete(key) : false) return;
    if (value !== undefined) this.#values.set(key, value);
    for (const call of [...(this.#listeners.get(key) ?? [])]) call();
    if (key.startsWith(STREAM) && this.known) this.#tell('streams', undefined);
  }

  #figures(message: Message): void {
    const atS = Number(message['at']) / 1_000;
    if (!Number.isFinite(atS)) return;
    this.#atS = atS;
    const told = (message['v'] ?? {}) as Readonly<Record<string, readonly (number | null)[]>>;
    for (const [name, values] of Object.entries(told)) this.#figuresOf(name, this.#names.stream, values);
    const system = message['system'] as readonly (number | null)[] | undefined;
    if (Array.isArray(system)) this.#figuresOf(null, this.#names.system, system);
    for (const [name, newest] of this.#newest) if (Math.abs(atS - newest.atS) > GONE_S) this.#newest.delete(name);
    this.#tell('figures', undefined);
  }

  #figuresOf(of: string | null, names: readonly string[], values: readonly (number | null)[]): void {
    if (!Array.isArray(values)) return;
    const by = Object.fromEntries(names.map((name, index) => [name, values[index] ?? null]));
    const name = of ?? MACHINE;
    this.#newest.set(name, { atS: this.#atS, by });
    const series = this.#series.get(name) ?? (of === null || this.#hasRoom() ? this.series(of) : undefined);
    series?.push(this.#atS, by);
  }

  /** Streams come and go under ever new names: the past of one that is gone makes room for one that is there. Those that are there do not for each other. */
  #hasRoom(): boolean {
    // The machine has its own place.
    if (this.#series.size < MAX_SERIES - (this.#series.has(MACHINE) ? 0 : 1)) return true;
    for (const name of this.#series.keys()) {
      if (name !== MACHINE && !this.#newest.has(name)) return this.#series.delete(name);
    }
    return false;
  }

  /** The one that was asked for longest ago. */
  #forgetSeries(kept: string): void {
    for (const name of this.#series.keys()) {
      if (this.#series.size <= MAX_SERIES) return;
      if (name !== kept && name !== MACHINE) this.#series.delete(name);
    }
  }

  #tell<T extends keyof Told>(type: T, told: Told[T]): void {
    for (const call of [...(this.#told.get(type) ?? [])]) (call as unknown as Call<Told[T]>)(told);
  }
}

/** Into the set of this name, which goes with its last member. */
function added<K, C>(sets: Map<K, Set<C>>, name: K, call: C): () => void {
  let set = sets.get(name);
  if (!set) sets.set(name, (set = new Set()));
  set.add(call);
  return () => {
    set.delete(call);
    if (set.size === 0 && sets.get(name) === set) sets.delete(name);
  };
}

const STREAM = 'stream/';
/** No stream is called so. */
const MACHINE = '';
const HOUR_S = 3_600;
/** Figures are told once a second: what was not for longer is of a stream that is gone. */
const TOLD_S = 2.5;
const GONE_S = 10;
const MAX_TOPICS = 64;
/** As many as the server has seconds of; 12 figures of an hour are 200 KB. */
const MAX_SERIES = 65;
/** What has a past to show; counters since the publisher came do not. */
const CHARTED = {
  stream: ['fps', 'kbps', 'dropped', 'viewers', 'latency_ms', 'latency_max_ms', 'cpu_percent', 'memory_percent', 'network_mbps', 'encode_ms', 'lost', 'motion'],
  system: [
    'cpu_percent', 'memory_percent', 'received_mbps', 'sent_mbps', 'temperature', 'throttled', 'program_cpu', 'program_mb', 'streams', 'viewers',
    'disk_free_gb', 'written_mbps',
  ],
} as const;
