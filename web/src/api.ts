/** Requests to the server's API (docs/reference/http.md): questions and commands, each answered. What changes by itself comes by the feed. */
import type { Problem as ProblemBody } from './api.types';
import type { Places } from './config';
import { authorization, kindOf, wordsIn } from './player/session';

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | null | undefined>>;

/** What a server says is wrong (RFC 9457), or that there was none to say something: `status` is 0 then. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    /** A word that does not change, such as `no-such-stream`; empty where there is none. */
    readonly code: string,
    message: string,
    /** All that is wrong with settings, each at its key and line. */
    readonly faults: readonly Fault[] = [],
  ) {
    super(message);
    this.name = 'Problem';
  }
}

/** One thing that is wrong with settings. */
export interface Fault {
  readonly key: string;
  readonly message: string;
  readonly line: number | null;
}

export class Api {
  constructor(private readonly places: Places) {}

  /** `path` is below `/api/v1/`; each part of it that is a name goes through `encodeURIComponent` first. */
  get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.#ask<T>('GET', path, query, undefined, signal);
  }

  send<T>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.#ask<T>(method, path, query, body, signal);
  }

  /** For elements that fetch by themselves, such as `<img>` and `<video>`: with the token of the page, where there is one. */
  url(path: string, query: Query = {}): URL {
    return this.places.withToken(this.#url(path, query));
  }

  /** A picture or another file. */
  async blob(path: string, query: Query = {}): Promise<Blob> {
    return (await this.#answer('GET', path, query, undefined)).blob();
  }

  async #ask<T>(method: string, path: string, query: Query, body: unknown, signal?: AbortSignal): Promise<T> {
    const text = await (await this.#answer(method, path, query, body, signal)).text();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  async #answer(method: string, path: string, query: Query, body: unknown, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json', ...authorization(this.places.token) };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const patience = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(this.#url(path, query), {
      method,
      headers,
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((error: unknown) => {
      if (signal?.aborted) throw error;
      throw new Problem(0, '', 'the server does not answer');
    });
    if (!response.ok) throw problemOf(response.status, response.statusText, await response.text().catch(() => ''));
    return response;
  }

  #url(path: string, query: Query): URL {
    const url = this.places.api(path);
    for (const [name, value] of Object.entries(query)) {
      if (value === null || value === undefined) continue;
      for (const one of Array.isArray(value) ? value : [value]) url.searchParams.append(name, String(one));
    }
    return url;
  }
}

export function problemOf(status: number, statusText: string, text: string): Problem {
  let code = '';
  let faults: readonly Fault[] = [];
  try {
    const body = JSON.parse(text) as Partial<ProblemBody>;
    code = String(body.code ?? '');
    if (Array.isArray(body.problems)) faults = body.problems as Fault[];
  } catch {
    // Of a proxy's.
  }
  return new Problem(status, code, wordsIn(text, kindOf(status)) || `the server answered ${status} ${statusText}`.trim(), faults);
}

/** What to show of anything that was thrown. */
export function wordsOf(failure: unknown): string {
  return typeof failure === 'object' && failure !== null && 'message' in failure ? String(failure.message) : String(failure);
}

const TIMEOUT_MS = 15_000;
