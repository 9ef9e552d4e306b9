/** Days of a month and which of them have something; and times as fields have them. Functions of their arguments. */
import type { Span } from './axis';
import type { Zone } from './zone';

export interface Day extends Span {
  /** 1 to 31. */
  readonly number: number;
  /** 0 is Monday. */
  readonly weekday: number;
  readonly recorded: boolean;
}

/** All days of the month that holds `at`. */
export function month(at: number, zone: Zone, ranges: readonly Span[]): Day[] {
  const local = new Date(at + zone.offsetMs(at));
  const [year, number] = [local.getUTCFullYear(), local.getUTCMonth()];
  const days: Day[] = [];
  for (let day = 1; new Date(Date.UTC(year, number, day)).getUTCMonth() === number; day++) {
    const from = zone.instant(Date.UTC(year, number, day));
    const to = zone.instant(Date.UTC(year, number, day + 1));
    const recorded = ranges.some((range) => range.from < to && from < range.to);
    days.push({ number: day, weekday: (new Date(Date.UTC(year, number, day)).getUTCDay() + 6) % 7, from, to, recorded });
  }
  return days;
}

/** The same day of another month, or its last. */
export function later(at: number, months: number, zone: Zone): number {
  const local = new Date(at + zone.offsetMs(at));
  const first = Date.UTC(local.getUTCFullYear(), local.getUTCMonth() + months, 1);
  const last = new Date(Date.UTC(new Date(first).getUTCFullYear(), new Date(first).getUTCMonth() + 1, 0)).getUTCDate();
  return zone.instant(first + (Math.min(local.getUTCDate(), last) - 1) * 86_400_000);
}

/** As `<input type="datetime-local" step="1">` has it. */
export function fieldOf(at: number, zone: Zone): string {
  return new Date(at + zone.offsetMs(at)).toISOString().slice(0, 19);
}

/** `null`: no time. */
export function timeOf(field: string, zone: Zone): number | null {
  const local = Date.parse(`${field}Z`);
  return Number.isNaN(local) ? null : zone.instant(local);
}
