/** A WebSocket to the server: asks for its clock, hands on what else is said, and comes back for ever, unless it is told that it may not. */
import { Backoff } from '../player/backoff';
import { Clock, type Estimate } from '../player/clock';

/** What the server says, one JSON object each. */
export interface Message {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** As much of the browser's as is used. */
export interface Wire {
  readonly readyState: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

/** What is not the same in a test. */
export interface World {
  open(url: URL): Wire;
  /** Milliseconds, monotonic. */
  now(): number;
  /** Calls once after this time; the answer takes it back. */
  after(ms: number, call: () => void): () => void;
  random(): number;
  /** Whether the server still knows who we are, where a connection came to nothing: browsers do not tell a page why. */
  signedIn(): Promise<boolean>;
}

export interface Listeners {
  /** Asked at each try: what was heard until then may stand in it. */
  readonly url: () => URL;
  readonly opened: () => void;
  readonly closed: () => void;
  /** Nobody is let in by what we have; nothing is tried any more. */
  readonly signedOut: () => void;
  readonly message: (message: Message) => void;
}

export class Socket {
  /** Of the newest question that was answered on this connection. */
  roundTripMs: number | null = null;

  #wire: Wire | null = null;
  #cancel: (() => void) | null = null;
  #clock = new Clock();
  #backoff: Backoff;
  /** The question under way: its number and when it left. */
  #asked: { client: number; sentMs: number } | null = null;
  #unanswered = 0;
  #questions = 0;
  #over = false;

  constructor(
    private readonly world: World,
    private readonly listeners: Listeners,
  ) {
    this.#backoff = new Backoff(MIN_PAUSE_MS, MAX_PAUSE_MS, world.random);
    this.#connect();
  }

  clock(): Estimate | null {
    return this.#clock.estimate(this.world.now());
  }

  get open(): boolean {
    return this.#wire?.readyState === OPEN;
  }

  /** Answers whether it was sent. */
  send(message: Message): boolean {
    if (!this.open) return false;
    this.#wire?.send(JSON.stringify(message));
    return true;
  }

  /** Something changed outside that may make the next try succeed: no more pauses. */
  nudge(): void {
    if (this.#over || this.#wire !== null) return;
    this.#cancel?.();
    this.#backoff.reset();
    this.#connect();
  }

  close(): void {
    this.#over = true;
    this.#cancel?.();
    this.#wire?.close();
    this.#wire = null;
  }

  #connect(): void {
    const wire = this.world.open(this.listeners.url());
    this.#wire = wire;
    this.#asked = null;
    this.#unanswered = 0;
    this.roundTripMs = null;
    let opened = false;
    // Browsers wait for minutes; where a network has just come back, the next try is answered at once.
    this.#cancel = this.world.after(CONNECT_MS, () => this.#givesUp(false));
    wire.onopen = () => {
      opened = true;
      this.#cancel?.();
      this.#backoff.reset();
      this.listeners.opened();
      this.#ask();
    };
    wire.onmessage = (event) => this.#received(event.data);
    wire.onclose = (event) => {
      if (this.#over || wire !== this.#wire) return;
      this.#wire = null;
      this.#cancel?.();
      if (opened) this.listeners.closed();
      if (event.code === SIGNED_OUT) this.#end();
      else this.#again(opened);
    };
  }

  #again(wasOpen: boolean): void {
    this.#cancel = this.world.after(this.#backoff.next(), () => this.#connect());
    if (wasOpen) return;
    void this.world.signedIn().then((known) => {
      if (!known && this.#wire === null && !this.#over) this.#end();
    });
  }

  #end(): void {
    this.#over = true;
    this.#cancel?.();
    this.listeners.signedOut();
  }

  #ask(): void {
    // A connection whose other end is gone without a word stays open for minutes.
    if (this.#asked && ++this.#unanswered >= MAX_UNANSWERED) {
      this.#givesUp(true);
      return;
    }
    this.#asked = { client: ++this.#questions, sentMs: this.world.now() };
    this.send({ type: 'ping', client: this.#asked.client });
    this.#cancel = this.world.after(this.#clock.pauseMs(), () => this.#ask());
  }

  /** Without waiting for `onclose`: browsers give the other end a minute to close, too. */
  #givesUp(wasOpen: boolean): void {
    const wire = this.#wire;
    this.#wire = null;
    if (wire) {
      [wire.onopen, wire.onmessage, wire.onclose] = [null, null, null];
      wire.close();
    }
    if (wasOpen) this.listeners.closed();
    this.#again(wasOpen);
  }

  #received(data: unknown): void {
    const receivedMs = this.world.now();
    const message = typeof data === 'string' && data.length <= MAX_CHARACTERS ? parsed(data) : null;
    if (message === null) return;
    if (message.type !== 'pong') {
      this.listeners.message(message);
      return;
    }
    const asked = this.#asked;
    if (asked === null || message['client'] !== asked.client || typeof message['server_us'] !== 'number') return;
    this.#asked = null;
    this.#unanswered = 0;
    this.roundTripMs = receivedMs - asked.sentMs;
    this.#clock.add(asked.sentMs, receivedMs, message['server_us']);
  }
}

function parsed(text: string): Message | null {
  try {
    const message: unknown = JSON.parse(text);
    const fits = typeof message === 'object' && message !== null && 'type' in message && typeof message.type === 'string';
    return fits ? (message as Message) : null;
  } catch {
    return null;
  }
}

const MIN_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
const MAX_UNANSWERED = 3;
/** Until a connection is open: a name looked up, TCP, TLS and the answer over a slow way. */
const CONNECT_MS = 10_000;
const MAX_CHARACTERS = 64 * 1_024;
/** Of the server's: the credential ended. */
export const SIGNED_OUT = 4_401;
/** `WebSocket.OPEN`. */
const OPEN = 1;
