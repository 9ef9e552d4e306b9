/** The clock on the wall of a time zone, by `Intl`: how far it is from UTC at an instant, and which instant it shows. */

export class Zone {
  readonly #format: Intl.DateTimeFormat;
  /** By day of UTC: one offset for all of it, or `null` where it changes. */
  #days = new Map<number, number | null>();

  constructor(readonly name: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  /** That of the browser. */
  static here(): Zone {
    return new Zone(Intl.DateTimeFormat().resolvedOptions().timeZone);
  }

  /** What has to be added to UTC. */
  offsetMs(at: number): number {
    const day = Math.floor(at / DAY_MS);
    let all = this.#days.get(day);
    if (all === undefined) {
      const [begin, end] = [this.#ask(day * DAY_MS), this.#ask((day + 1) * DAY_MS)];
      all = begin === end ? begin : null;
      if (this.#days.size >= MAX_DAYS) this.#days.clear();
      this.#days.set(day, all);
    }
    return all ?? this.#ask(at);
  }

  /** The instant at which its clock shows this, given as if it were UTC: the first, where it does so twice; the end of the gap, where it never does. */
  instant(local: number): number {
    // One of both holds, unless the clock is set in between.
    const [before, behind] = [this.offsetMs(local - DAY_MS), this.offsetMs(local + DAY_MS)];
    const fits = [...new Set([before, behind])].map((offset) => local - offset).filter((at) => at + this.offsetMs(at) === local);
    return fits.length > 0 ? Math.min(...fits) : local - Math.min(before, behind);
  }

  /** Midnight at the beginning of the day of an instant, so many days later. */
  day(at: number, later = 0): number {
    const day = Math.floor((at + this.offsetMs(at)) / DAY_MS) + later;
    return this.instant(day * DAY_MS);
  }

  #ask(at: number): number {
    const parts: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(at)) parts[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(at / 1_000) * 1_000;
  }
}

const DAY_MS = 86_400_000;
const MAX_DAYS = 1_024;
