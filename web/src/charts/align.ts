/**
 * Series on one axis of time, holes where nothing is known, and their words.
 *
 * Belongs here: everything of a chart that a test can hold without a browser. Does not belong here: drawing (`uplot`).
 */

/** One line of a chart. */
export interface Line {
  readonly label: string;
  /** Seconds of Unix time, ascending. */
  readonly x: ArrayLike<number>;
  /** `null`: not known then. */
  readonly y: ArrayLike<number | null>;
}

/** What the values of a chart are. */
export interface Metric {
  /** Behind a value, such as `ms`; empty where it has none. */
  readonly unit: string;
  /** Behind the point. */
  readonly digits: number;
  /** The axis never ends below it, so that a wobble does not look like a mountain. */
  readonly atLeast?: number;
  /** Where the axis ends, such as 100 of a share. */
  readonly greatest?: number;
}

/** From when to when, in seconds of Unix time. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** A value that a line does not have at this instant, and none is missing either: the line goes on across it. */
type Passed = undefined;

/** Columns as uPlot takes them: one of times, one for each line. `null` is a hole. */
export type Columns = [number[], ...(number | null | Passed)[][]];

/**
 * The lines on one axis. Two neighbours of a line that are further apart than `holeS` are not joined: nothing is known in between, and a chart that
 * drew a line there would say something.
 */
export function aligned(lines: readonly Line[], holeS: number): Columns {
  const times = new Set<number>();
  for (const { x } of lines) {
    for (let index = 0; index < x.length; index++) {
      const at = x[index] ?? 0;
      times.add(at);
      const next = x[index + 1];
      // Somewhere for the hole to be.
      if (next !== undefined && next - at > holeS) times.add(at + holeS / 2);
    }
  }
  const axis = [...times].sort((a, b) => a - b);
  return [axis, ...lines.map((line) => column(line, axis, holeS))];
}

function column({ x, y }: Line, axis: readonly number[], holeS: number): (number | null | Passed)[] {
  let next = 0;
  return axis.map((at) => {
    if (next < x.length && x[next] === at) return y[next++] ?? null;
    const [before, behind] = [x[next - 1], x[next]];
    if (before === undefined || behind === undefined) return null;
    return behind - before > holeS ? null : undefined;
  });
}

/** The value at an instant or the newest in front of it, no further away than a hole is wide. */
export function valueAt({ x, y }: Line, at: number, holeS: number): number | null {
  let [low, high] = [0, x.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((x[middle] ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  const found = x[low - 1];
  return found === undefined || at - found > holeS ? null : (y[low - 1] ?? null);
}

/** From where to where the axis of values goes: from zero, unless something is below it. */
export function bounds(least: number | null, greatest: number | null, metric: Metric): [number, number] {
  const low = Math.min(0, least ?? 0);
  const high = metric.greatest ?? roundUp(Math.max(greatest ?? 0, metric.atLeast ?? 0));
  return [low < 0 ? -roundUp(-low) : 0, high > low ? high : low + 1];
}

/** To a number that people like at the end of an axis. */
function roundUp(value: number): number {
  if (value <= 0) return 0;
  const decade = 10 ** Math.floor(Math.log10(value));
  const step = NICE.find((nice) => nice * decade >= value * HEADROOM) ?? 10;
  return step * decade;
}

/** A row of the table behind a chart. */
export interface Row {
  readonly at: number;
  readonly values: readonly (number | null)[];
}

/** Evenly over the range, so many rows at the most: what a screen reader is to read is not 3,600 lines. */
export function rows(lines: readonly Line[], span: Span, holeS: number, most = 12): Row[] {
  const found: Row[] = [];
  const step = (span.to - span.from) / most;
  if (!(step > 0)) return found;
  for (let index = 1; index <= most; index++) {
    const at = span.from + step * index;
    const values = lines.map((line) => valueAt(line, at, Math.max(holeS, step)));
    if (values.some((value) => value !== null)) found.push({ at, values });
  }
  return found;
}

/** So many digits behind the point tell values apart that are such steps. */
export function decimals(step: number): number {
  return Math.min(6, (String(Number(step.toPrecision(2))).split('.')[1] ?? '').length);
}

const HEADROOM = 1.05;
const NICE = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
