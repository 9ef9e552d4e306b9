/**
 * The axis of the timeline: time ↔ pixel, the level of detail, the windows that a view is made of, and its ticks on the clock on the wall.
 *
 * Belongs here: functions of their arguments. Does not belong here: drawing (`draw`), what windows hold (`windows`).
 */
import { Zone } from './zone';

/** From when to when, ms of Unix time. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export const LEVELS = 21;
/** Steps of a window. */
export const WINDOW_STEPS = 512;
const FINEST_MS = 4;

/** What one may see at once: less is less than a picture, more is more than the levels have. */
export const LEAST_SPAN_MS = 6_000;
export const GREATEST_SPAN_MS = 70 * 86_400_000;
/** Dates that servers know. */
const LAST_MS = Date.UTC(9_999, 0);

/** The length of a step of this level. */
export function stepMs(level: number): number {
  return FINEST_MS * 2 ** level;
}

export function windowMs(level: number): number {
  return stepMs(level) * WINDOW_STEPS;
}

/** From when to when a window is. */
export function windowSpan(level: number, index: number): Span {
  return { from: index * windowMs(level), to: (index + 1) * windowMs(level) };
}

export interface Tick {
  readonly at: number;
  readonly text: string;
  /** A day begins, or whatever else the ones beside it are counted from. */
  readonly major: boolean;
}

export interface Axis {
  readonly span: Span;
  readonly width: number;
  readonly level: number;
  readonly stepMs: number;
  /** Of this level, those that hold a part of the span. */
  readonly windows: readonly number[];
  toX(at: number): number;
  toTime(x: number): number;
  ticks(zone: Zone, language?: string): Tick[];
}

export function axis(span: Span, width: number): Axis {
  const perPixel = (span.to - span.from) / Math.max(1, width);
  const level = Math.min(LEVELS - 1, Math.max(0, Math.ceil(Math.log2(perPixel / FINEST_MS))));
  const first = Math.floor(span.from / windowMs(level));
  const last = Math.max(first, Math.ceil(span.to / windowMs(level)) - 1);
  return {
    span,
    width,
    level,
    stepMs: stepMs(level),
    windows: Array.from({ length: last - first + 1 }, (_, index) => first + index),
    toX: (at) => (at - span.from) / perPixel,
    toTime: (x) => span.from + x * perPixel,
    ticks: (zone, language) => ticks(span, width, zone, language),
  };
}

/** The same middle, or another place that stays where it is, with `factor` times as much to see. */
export function zoomed(span: Span, factor: number, around: number): Span {
  const length = span.to - span.from;
  const next = Math.min(GREATEST_SPAN_MS, Math.max(LEAST_SPAN_MS, length * factor));
  const from = around - ((around - span.from) / length) * next;
  return within({ from, to: from + next });
}

export function panned(span: Span, byMs: number): Span {
  return within({ from: span.from + byMs, to: span.to + byMs });
}

/** The same length, between 1970 and 9999. */
function within({ from, to }: Span): Span {
  const shift = from < 0 ? -from : to > LAST_MS ? LAST_MS - to : 0;
  return { from: from + shift, to: to + shift };
}

/** Ticks that are at least so far apart. */
const APART_PX = 84;
const [SECOND, MINUTE, HOUR, DAY] = [1_000, 60_000, 3_600_000, 86_400_000];
const STEPS = [
  SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND,
  MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
];
/** Beyond hours by the calendar. */
const DAYS = [1, 2, 7, 14];

function ticks(span: Span, width: number, zone: Zone, language?: string): Tick[] {
  const least = ((span.to - span.from) / Math.max(1, width)) * APART_PX;
  const step = STEPS.find((candidate) => candidate >= least);
  const words = wordsFor(zone.name, language);
  if (step !== undefined) return byClock(span, step, zone, words);
  const days = DAYS.find((candidate) => candidate * DAY >= least) ?? 28;
  return byCalendar(span, days, zone, words);
}

/**
 * Where the clock on the wall shows a multiple of `step`. All is looked at that could be one, since zones differ by quarters of an hour: so an hour that comes twice has
 * its ticks twice, and one that does not come has none.
 */
function byClock(span: Span, step: number, zone: Zone, words: Words): Tick[] {
  const found: Tick[] = [];
  const stride = shared(step, QUARTER_MS);
  for (let at = Math.ceil(span.from / stride) * stride; at <= span.to; at += stride) {
    const local = at + zone.offsetMs(at);
    if (local % step !== 0) continue;
    const major = local % DAY === 0;
    const text = major ? words.day(at) : step < MINUTE ? words.second(at) : words.minute(at);
    found.push({ at, text, major });
  }
  return found;
}

function byCalendar(span: Span, days: number, zone: Zone, words: Words): Tick[] {
  const found: Tick[] = [];
  let day = Math.floor((span.from + zone.offsetMs(span.from)) / DAY);
  // Counted from a Monday, so that they stay when the view moves.
  day -= (((day - MONDAY) % days) + days) % days;
  for (; ; day += days) {
    const at = zone.instant(day * DAY);
    if (at > span.to) return found;
    if (at >= span.from) found.push({ at, text: words.day(at), major: new Date(day * DAY).getUTCDate() <= days });
  }
}

/** The greatest that divides both. */
function shared(a: number, b: number): number {
  return b === 0 ? a : shared(b, a % b);
}

const QUARTER_MS = 15 * MINUTE;
/** 1970-01-05, in days. */
const MONDAY = 4;

interface Words {
  second(at: number): string;
  minute(at: number): string;
  day(at: number): string;
}

const made = new Map<string, Words>();

/** Formatters are slow to make, and few. */
function wordsFor(zone: string, language: string | undefined): Words {
  const key = `${zone} ${language ?? ''}`;
  const known = made.get(key);
  if (known) return known;
  const of = (options: Intl.DateTimeFormatOptions): ((at: number) => string) => {
    const format = new Intl.DateTimeFormat(language, { ...options, timeZone: zone });
    return (at) => format.format(at);
  };
  const words = {
    second: of({ hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }),
    minute: of({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
    day: of({ weekday: 'short', day: 'numeric', month: 'short' }),
  };
  if (made.size >= MAX_WORDS) made.clear();
  made.set(key, words);
  return words;
}
const MAX_WORDS = 8;
