/** The line of a small chart as the path of an SVG: a function of its values. */

/**
 * Of `values` (ascending times in `x`) within `from` to `to`, as a path in a box of `width` × `height`. Holes stay holes; a value alone between two of them is a dot.
 * Never more than two points a pixel.
 */
export function path(
  x: ArrayLike<number>,
  y: ArrayLike<number | null>,
  box: { readonly width: number; readonly height: number },
  span: { readonly from: number; readonly to: number; readonly holeS: number; readonly greatest?: number },
): string {
  const { from, to, holeS } = span;
  let most = span.greatest ?? 0;
  if (span.greatest === undefined) {
    for (let index = 0; index < y.length; index++) most = Math.max(most, y[index] ?? 0);
  }
  if (!(to > from) || most <= 0) most = 1;
  const place = (at: number, value: number): string => {
    const across = ((at - from) / (to - from)) * box.width;
    const down = box.height - INSET - (Math.min(value, most) / most) * (box.height - 2 * INSET);
    return `${round(across)} ${round(down)}`;
  };
  let drawn = '';
  let before: number | null = null;
  let alone = '';
  for (const [at, value] of thinned(x, y, from, to, box.width)) {
    if (value === null) {
      drawn += alone;
      alone = '';
      before = null;
      continue;
    }
    const joined = before !== null && at - before <= holeS;
    if (!joined) drawn += alone;
    drawn += `${joined ? 'L' : 'M'}${place(at, value)}`;
    // A line of no length with round ends is a dot.
    alone = joined ? '' : 'h0';
    before = at;
  }
  return drawn + alone;
}

/** Where there are more values than pixels, the greatest of each pixel: a peak of a second is seen. */
function* thinned(
  x: ArrayLike<number>,
  y: ArrayLike<number | null>,
  from: number,
  to: number,
  width: number,
): Generator<[number, number | null]> {
  const slot = (to - from) / Math.max(1, width);
  let current = -1;
  let best: [number, number | null] | null = null;
  for (let index = 0; index < x.length; index++) {
    const at = x[index] ?? 0;
    if (at < from || at > to) continue;
    const value = y[index] ?? null;
    const number = Math.floor((at - from) / slot);
    if (number !== current) {
      if (best) yield best;
      best = [at, value];
      current = number;
    } else if (best && value !== null && (best[1] === null || value > best[1])) {
      best = [best[0], value];
    }
  }
  if (best) yield best;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** So that a line at the edge is drawn as thick as elsewhere. */
const INSET = 1.5;
