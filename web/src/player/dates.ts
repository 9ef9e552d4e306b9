/**
 * Which time of capture belongs to which position in the media, by the dates of a list and where their media really came to lie.
 *
 * The places that a player gives to segments are no help: hls.js 1.7 moves a segment to where its first picture is shown, 1.6 to where it is
 * decoded, and dates count from the latter. While a camera starts, both differ by a tenth of a second.
 */
export class Dates {
  #anchors: Anchor[] = [];

  /** Media of a segment whose decode times begin at this position, with its date in ms since 1970: the whole of it, or a part. */
  appended(segment: number, startS: number, dateMs: number): void {
    if (!Number.isFinite(startS) || !Number.isFinite(dateMs)) return;
    const last = this.#anchors.at(-1);
    // The first part says it best: the others are dated by rounded durations.
    if (last?.segment === segment && Math.abs(dateAt(last, startS) - dateMs) < ROUNDED_MS) return;
    // What is appended again, or anew after a jump, replaces what was there.
    this.#anchors = this.#anchors.filter((anchor) => anchor.startS < startS - SLACK_S).slice(1 - MAX_ANCHORS);
    this.#anchors.push({ segment, startS, dateMs });
  }

  /** Capture time of what is shown at this position, ms since 1970; `null`: not known. */
  at(mediaTimeS: number): number | null {
    // The newest first: what is shown is near the end.
    for (let index = this.#anchors.length - 1; index >= 0; index--) {
      const anchor = this.#anchors[index];
      if (anchor && anchor.startS <= mediaTimeS + SLACK_S) return dateAt(anchor, mediaTimeS);
    }
    return null;
  }
}

interface Anchor {
  readonly segment: number;
  readonly startS: number;
  readonly dateMs: number;
}

function dateAt(anchor: Anchor, mediaTimeS: number): number {
  return anchor.dateMs + (mediaTimeS - anchor.startS) * 1_000;
}

/** A picture may be shown a little before its segment begins. */
const SLACK_S = 0.005;
/** The dates of parts are no further off. */
const ROUNDED_MS = 50;
/** More segments than a browser keeps, however short. */
const MAX_ANCHORS = 128;
