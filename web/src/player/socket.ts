/**
 * The status socket of the server, `/ws/camera/`: asks for the server's clock, hands on what else is said, and comes back for ever.
 */
import { Backoff } from './backoff';
import { Clock, type Estimate } from './clock';

/** What the server says, one JSON object each (CONTRACT §1). */
export interface Message {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface SocketOptions {
  /** With the token in it, where there is one. */
  readonly url: URL;
  readonly opened?: () => void;
  readonly closed?: () => void;
  readonly message?: (message: Message) => void;
}

export class StatusSocket {
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #clock = new Clock();
  #backoff = new Backoff(500, 10_000, Math.random);
  /** The question under way: its number and when it left. */
  #asked: { client: number; sentMs: number } | null = null;
  #unanswered = 0;
  #questions = 0;
  #over = false;

  constructor(private readonly options: SocketOptions) {
    this.#connect();
  }

  clock(): Estimate | null {
    return this.#clock.estimate(performance.now());
  }

  get open(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  send(message: Message): void {
    if (this.open) this.#socket?.send(JSON.stringify(message));
  }

  close(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #connect(): void {
    const socket = new WebSocket(this.options.url);
    this.#socket = socket;
    this.#asked = null;
    this.#unanswered = 0;
    socket.onopen = () => {
      this.#backoff.reset();
      this.options.opened?.();
      this.#ask();
    };
    socket.onmessage = (event: MessageEvent<unknown>) => this.#received(event.data);
    socket.onclose = () => {
      clearTimeout(this.#timer);
      if (this.#over) return;
      this.options.closed?.();
      this.#timer = setTimeout(() => this.#connect(), this.#backoff.next());
    };
  }

  #ask(): void {
    // A connection whose other end is gone without a word stays open for minutes.
    if (this.#asked && ++this.#unanswered >= MAX_UNANSWERED) {
      this.#socket?.close();
      return;
    }
    this.#asked = { client: ++this.#questions, sentMs: performance.now() };
    this.send({ type: 'ping', client: this.#asked.client });
    this.#timer = setTimeout(() => this.#ask(), this.#clock.pauseMs());
  }

  #received(data: unknown): void {
    const receivedMs = performance.now();
    const message = typeof data === 'string' && data.length <= MAX_CHARACTERS ? parsed(data) : null;
    if (message === null) return;
    if (message.type !== 'pong') {
      this.options.message?.(message);
      return;
    }
    const asked = this.#asked;
    if (asked === null || message['client'] !== asked.client || typeof message['server_us'] !== 'number') return;
    this.#asked = null;
    this.#unanswered = 0;
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

const MAX_UNANSWERED = 3;
const MAX_CHARACTERS = 64 * 1_024;
