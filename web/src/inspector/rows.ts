/** Sessions as rows of a table: rates between two looks, order. Pure. */
import type { Session } from '../api.types';

/** What was known of a session, and when. */
interface Look {
  readonly at: number;
  readonly bytes: number;
  readonly kbps: number | null;
}

/** A session, and how much it takes now. */
export interface Row {
  readonly session: Session;
  /** Between the last two looks that are at least half a second apart; `null` before the second. */
  readonly kbps: number | null;
}

export type Column = 'protocol' | 'remote' | 'since' | 'kbps' | 'rtt_ms' | 'packets_lost' | 'frames_dropped' | 'jumps' | 'latency_ms' | 'waiting_bytes';

/** Remembers the last look at each session that is there, and no other. */
export class Rates {
  #looks = new Map<number, Look>();

  /** `atMs`: a clock that does not jump. */
  rows(sessions: readonly Session[], atMs: number): Row[] {
    const looks = new Map<number, Look>();
    const rows = sessions.map((session) => {
      const before = this.#looks.get(session.id);
      const look = next(before, session.bytes, atMs);
      looks.set(session.id, look);
      return { session, kbps: look.kbps };
    });
    this.#looks = looks;
    return rows;
  }
}

function next(before: Look | undefined, bytes: number, at: number): Look {
  if (!before || bytes < before.bytes) return { at, bytes, kbps: null };
  const ms = at - before.at;
  // What is told twice in a moment has no rate of its own.
  if (ms < 500) return before;
  return { at, bytes, kbps: ((bytes - before.bytes) * 8) / ms };
}

/** By a column; what is equal stays in the order in which it came. Figures: the greatest first, where `down`. */
export function sorted(rows: readonly Row[], by: Column, down: boolean): Row[] {
  const value = ({ session, kbps }: Row): number | string => (by === 'kbps' ? (kbps ?? -1) : (session[by] ?? ''));
  const compare = (a: Row, b: Row): number => {
    const [one, other] = [value(a), value(b)];
    const order = typeof one === 'number' && typeof other === 'number' ? one - other : String(one).localeCompare(String(other), undefined, { numeric: true });
    return (down ? -order : order) || a.session.id - b.session.id;
  };
  return [...rows].sort(compare);
}
