/** What the ways to play have in common. */

export type Via = 'webrtc' | 'hls';

export type FailureKind =
  /** There is no such stream, now. */
  | 'missing'
  /** We may not see it. */
  | 'denied'
  /** The server does not play it this way, and says why. */
  | 'refused'
  /** The server does not answer. */
  | 'unreachable'
  /** It answers, but media do not come through. */
  | 'blocked'
  /** What comes cannot be shown, or stopped coming. */
  | 'broken'
  /** The stream is over. */
  | 'ended';

export interface Failure {
  readonly kind: FailureKind;
  /** For people: what and why. */
  readonly message: string;
  /** The server asks for patience. */
  readonly retryAfterMs?: number;
}

/** What a session tells. Never before `Open` has returned. */
export interface Listener {
  /** Media could flow. */
  connected(): void;
  /** A new picture is on the screen. */
  picture(): void;
  /** It is over; nothing more is told. */
  failed(failure: Failure): void;
}

/** One try to play, from its start until somebody closes it. */
export interface Session {
  readonly via: Via;
  /** Whether media come in, shown or not. */
  arriving(): boolean;
  /** Ends everything but the last picture, which stays until something takes its place. */
  silence(): void;
  close(): void;
}

export type Open = (listener: Listener) => Session;

export function authorization(token: string | null): Record<string, string> {
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** Why a server said no, in its own words where it has some. */
export async function failureOf(response: Response): Promise<Failure> {
  const retry = Number(response.headers.get('retry-after'));
  const patience = retry > 0 ? { retryAfterMs: Math.min(retry, 120) * 1_000 } : {};
  const kind = kindOf(response.status);
  return { kind, message: await wordsOf(response, kind), ...patience };
}

export function kindOf(status: number): FailureKind {
  if (status === 404 || status === 410) return 'missing';
  if (status === 401 || status === 403) return 'denied';
  return 'refused';
}

async function wordsOf(response: Response, kind: FailureKind): Promise<string> {
  const fallback = `the server answered ${response.status} ${response.statusText}`.trim();
  try {
    return wordsIn(await response.text(), kind) || fallback;
  } catch {
    return fallback;
  }
}

/** Of a problem (RFC 9457), of what other servers answer, or of plain text. */
export function wordsIn(body: string, kind: FailureKind): string {
  try {
    const problem: unknown = JSON.parse(body);
    if (typeof problem === 'object' && problem !== null) {
      const field = (name: string): string => {
        const value = (problem as Record<string, unknown>)[name];
        return typeof value === 'string' ? value : '';
      };
      const detail = field('detail') || field('error') || field('title');
      // What programs do about a stream that is not there, a page does by itself: it asks again.
      const next = kind === 'missing' ? '' : field('next');
      return [detail, next].filter(Boolean).join('; ').slice(0, MAX_WORDS);
    }
  } catch {
    // Plain text, or a page of a proxy's.
  }
  return body.trimStart().startsWith('<') ? '' : body.trim().slice(0, MAX_WORDS);
}

const MAX_WORDS = 400;
