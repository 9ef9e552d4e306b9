/** What the page knows of the server, for all components: its clock, its streams, itself. */
import { untrack } from 'svelte';
import { Api, poll, type Stream, type System } from './api';
import type { Places } from './config';
import type { Estimate } from './player/clock';
import { StatusSocket, type Message } from './player/socket';

export interface Entry {
  readonly id: number;
  readonly at: Date;
  readonly text: string;
}

/** Of the chat. */
export interface Line {
  readonly id: number;
  readonly at: Date;
  readonly from: string;
  readonly text: string;
}

export class Server {
  readonly api: Api;
  /** Whether the socket is open. */
  reachable = $state(false);
  streams = $state.raw<readonly Stream[] | null>(null);
  system = $state.raw<System | null>(null);
  /** Why the streams cannot be listed. */
  trouble = $state<string | null>(null);
  activity = $state.raw<readonly Entry[]>([]);
  chat = $state.raw<readonly Line[]>([]);

  #socket: StatusSocket;
  #ends: (() => void)[] = [];
  #entries = 0;
  #reopened = new Set<() => void>();

  constructor(places: Places) {
    this.api = new Api(places);
    this.#socket = new StatusSocket({
      url: places.socket(),
      opened: () => {
        this.reachable = true;
        this.log('Server reached');
        for (const call of this.#reopened) call();
      },
      closed: () => {
        if (this.reachable) this.log('Server lost');
        this.reachable = false;
      },
      message: (message) => this.#heard(message),
    });
  }

  clock = (): Estimate | null => this.#socket.clock();

  /** Calls whenever the server is there again. Answers how to end that. */
  whenBack(call: () => void): () => void {
    this.#reopened.add(call);
    return () => this.#reopened.delete(call);
  }

  watchStreams(): void {
    this.#ends.push(
      poll(2_000, async () => {
        try {
          this.streams = await this.api.streams();
          this.trouble = null;
        } catch (failure) {
          this.trouble = wordsOf(failure);
        }
      }),
    );
  }

  watchSystem(): void {
    this.#ends.push(
      poll(5_000, async () => {
        this.system = await this.api.system().catch(() => null);
      }),
    );
  }

  /** Into the log of the page, which keeps the newest. */
  log(text: string): void {
    const entry = { id: ++this.#entries, at: new Date(), text };
    // Effects write into it; none shall run again because of that.
    this.activity = [entry, ...untrack(() => this.activity)].slice(0, MAX_ENTRIES);
  }

  /** To everybody who looks at a page of this server. The server tells it to the others alone. */
  say(text: string): void {
    this.#socket.send({ type: 'chat', text });
    this.#line('you', text, new Date());
  }

  #heard(message: Message): void {
    const { type, from, text, at } = message;
    if (type !== 'chat' || typeof text !== 'string') return;
    const said = new Date(typeof at === 'string' || typeof at === 'number' ? at : Date.now());
    this.#line(typeof from === 'string' ? from : 'somebody', text, Number.isNaN(said.getTime()) ? new Date() : said);
  }

  #line(from: string, text: string, at: Date): void {
    const line = { id: ++this.#entries, at, from, text: text.slice(0, MAX_LINE) };
    this.chat = [...this.chat, line].slice(-MAX_ENTRIES);
  }

  close(): void {
    this.#socket.close();
    for (const end of this.#ends) end();
  }
}

export function wordsOf(failure: unknown): string {
  return typeof failure === 'object' && failure !== null && 'message' in failure ? String(failure.message) : String(failure);
}

const MAX_ENTRIES = 50;
const MAX_LINE = 1_000;
