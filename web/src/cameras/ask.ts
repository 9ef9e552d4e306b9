/** Looking for cameras and trying them out: what is asked, what is answered, and words for what went wrong. */
import { Problem, wordsOf } from '../api';
import type { Discovered, Probed } from '../api.types';
import { sentence } from '../format';
import type { Store } from '../store.svelte';
import type { cameras } from '../words/en/cameras';

/** As the server has them; it answers within. */
export const LOOK_S = 5;
export const PROBE_S = 12;

export interface Question {
  readonly source: string;
  readonly credential?: string;
  readonly account?: { readonly user: string; readonly password: string };
  readonly source_fingerprint?: string;
}

/** What went wrong, with the way out of it. */
export interface Trouble {
  readonly code: string;
  readonly what: string;
  readonly wayOut: string;
  readonly detail: string;
  readonly fingerprint: string | null;
}

type Told = NonNullable<Probed['failed']>;

export function look(store: Store, signal: AbortSignal): Promise<Discovered> {
  return store.api.send<Discovered>('POST', 'discover', {}, {}, signal);
}

export function probe(store: Store, question: Question, signal: AbortSignal): Promise<Probed> {
  return store.api.send<Probed>('POST', 'probe', question, {}, signal);
}

/** A cause in the language of the page; in the server's own words where it is a newer one. */
export function troubleOf(told: Told, words: typeof cameras): Trouble {
  const [what, wayOut] = words.causes[told.code] ?? [told.what, told.way_out];
  return { code: told.code, what, wayOut, detail: sentence(told.detail ?? ''), fingerprint: told.fingerprint ?? null };
}

/** A request that failed as a whole. */
export function failureOf(failure: unknown, words: typeof cameras): Trouble {
  const code = failure instanceof Problem ? failure.code : '';
  const away = failure instanceof Problem && failure.status === 0;
  const own = words.problems[code];
  const said = sentence(wordsOf(failure));
  return { code, what: own ?? (away ? words.away : said), wayOut: '', detail: own === undefined || away ? '' : said, fingerprint: null };
}

/** Where in the form something is to be mended. */
export function placeOf(code: string): 'address' | 'account' {
  return /^(login-|credential-|certificate$)/.test(code) ? 'account' : 'address';
}
