/** The server's API as the page uses it (docs/reference/http.md). */
import type { Places } from './config';
import type { Since } from './player/latency';
import { authorization, failureOf, type Failure } from './player/session';

export interface Stream {
  readonly name: string;
  readonly state: 'live' | 'held' | 'ended';
  readonly publisher: { readonly protocol: string; readonly frames: number; readonly frames_dropped: number; readonly since: string } | null;
  readonly tracks: readonly { readonly kind: 'video' | 'audio'; readonly codec: string }[];
  readonly width: number | null;
  readonly height: number | null;
  readonly fps: number;
  readonly bitrate_kbps: number;
  readonly viewers: number;
  readonly latency: { readonly to_server_ms: number; readonly since: Since } | null;
  readonly urls: { readonly rtsp: string };
}

export interface System {
  readonly cpu_percent: number | null;
  readonly memory_percent: number | null;
  readonly memory_used_mb: number | null;
  readonly memory_total_mb: number | null;
  readonly network: { readonly received_mbps: number | null; readonly sent_mbps: number | null } | null;
  readonly temperature_celsius: number | null;
}

export class Api {
  constructor(private readonly places: Places) {}

  async streams(): Promise<readonly Stream[]> {
    const answer = await this.#get<{ streams: readonly Stream[] }>(this.places.streams());
    return answer.streams;
  }

  stream(name: string): Promise<Stream> {
    return this.#get(this.places.stream(name));
  }

  system(): Promise<System> {
    return this.#get(this.places.system());
  }

  async #get<T>(url: URL): Promise<T> {
    const headers = { accept: 'application/json', ...authorization(this.places.token) };
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => {
      throw { kind: 'unreachable', message: 'the server does not answer' } satisfies Failure;
    });
    if (!response.ok) throw await failureOf(response);
    return (await response.json()) as T;
  }
}

/** Asks again and again, never twice at a time, and not while nobody looks. Answers how to end it. */
export function poll(everyMs: number, ask: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const turn = async (): Promise<void> => {
    if (!document.hidden) await ask();
    if (!over) timer = setTimeout(() => void turn(), everyMs);
  };
  const seen = (): void => {
    if (document.hidden || timer === undefined) return;
    clearTimeout(timer);
    timer = undefined;
    void turn();
  };
  document.addEventListener('visibilitychange', seen);
  void turn();
  return () => {
    over = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', seen);
  };
}

const TIMEOUT_MS = 8_000;
