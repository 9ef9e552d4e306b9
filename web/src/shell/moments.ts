/** Instants that somebody types: `2026-11-22`, `22/11 14:00`, `14:05`, `yesterday 9:30`. By a zone's clock, and never later than now. Pure. */
import type { Zone } from '../timeline/zone';

export interface Moment {
  readonly at: number;
  /** A day was named and no time of it. */
  readonly wholeDay: boolean;
  /** The other words. */
  readonly rest: string;
}

/** Words of a language for a day, in lower case. */
export interface Days {
  readonly today: string;
  readonly yesterday: string;
}

/** `null`: no instant is in it, or one that no calendar has, or that is yet to come. */
export function moment(query: string, now: number, zone: Zone, days: Days): Moment | null {
  let text = query.toLowerCase();
  let day: number | null = null;
  for (const [word, back] of [
    [days.today, 0],
    [days.yesterday, 1],
  ] as const) {
    if (!` ${text} `.includes(` ${word} `)) continue;
    text = ` ${text} `.replace(` ${word} `, ' ');
    day = today(now, zone) - back * DAY_MS;
  }
  let time: number | null = null;
  const rest: string[] = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const asDay: number | null = day === null ? dayOf(word, now, zone) : null;
    const asTime: number | null = time === null ? timeOf(word) : null;
    if (asDay !== null) day = asDay;
    else if (asTime !== null) time = asTime;
    else rest.push(word);
  }
  if (day === null && time === null) return null;
  let at = zone.instant((day ?? today(now, zone)) + (time ?? 0));
  // A time alone is the last that was.
  if (day === null && at > now) at = zone.instant(today(now, zone) - DAY_MS + (time ?? 0));
  return at > now ? null : { at, wholeDay: time === null, rest: rest.join(' ') };
}

/** Midnight at which this day begins, as if it were UTC. */
function today(now: number, zone: Zone): number {
  return Math.floor((now + zone.offsetMs(now)) / DAY_MS) * DAY_MS;
}

function dayOf(word: string, now: number, zone: Zone): number | null {
  const iso = /^(\d{4})-(\d{1,2})-(\d{1,2})$/.exec(word);
  if (iso) return date(Number(iso[1]), Number(iso[2]), Number(iso[3]));
  // Day and month, as most of the world has them.
  const short = /^(\d{1,2})[./](\d{1,2})(?:[./](\d{4})?)?$/.exec(word);
  if (!short) return null;
  const [number, month] = [Number(short[1]), Number(short[2])];
  if (short[3] !== undefined) return date(Number(short[3]), month, number);
  const year = new Date(today(now, zone)).getUTCFullYear();
  const found = date(year, month, number);
  // Of two years: the last that was; 29 February perhaps not in each.
  return found !== null && found <= today(now, zone) ? found : date(year - 1, month, number);
}

/** `null`: no such day. */
function date(year: number, month: number, day: number): number | null {
  const at = Date.UTC(year, month - 1, day);
  const made = new Date(at);
  return made.getUTCFullYear() === year && made.getUTCMonth() === month - 1 && made.getUTCDate() === day ? at : null;
}

/** Since midnight. */
function timeOf(word: string): number | null {
  const found = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(word);
  if (!found) return null;
  const [hours, minutes, seconds] = [Number(found[1]), Number(found[2]), Number(found[3] ?? 0)];
  return hours < 24 && minutes < 60 && seconds < 60 ? ((hours * 60 + minutes) * 60 + seconds) * 1_000 : null;
}

const DAY_MS = 86_400_000;
