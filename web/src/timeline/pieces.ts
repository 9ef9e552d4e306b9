/**
 * Which time of day is where in a list of recorded media: pieces with the date of their first picture, gaps between them. Functions of their arguments.
 */

/** A piece of a list; hls.js has the same of its fragments. */
export interface Piece {
  /** Position in the media, seconds. */
  readonly start: number;
  readonly duration: number;
  /** Of its beginning, ms of Unix time. */
  readonly programDateTime: number | null;
}

export function wallAt(pieces: readonly Piece[], mediaS: number): number | null {
  const piece = pieces[Math.max(0, firstBehind(pieces, ({ start }) => start > mediaS + SLACK_S) - 1)];
  if (!piece || piece.programDateTime === null) return null;
  return piece.programDateTime + (mediaS - piece.start) * 1_000;
}

/**
 * Where in the media an instant is. In a gap: where it goes on. `null`: the list has ended by then.
 */
export function mediaAt(pieces: readonly Piece[], wallMs: number): { mediaS: number; goesOnMs: number | null } | null {
  const index = firstBehind(pieces, (piece) => (piece.programDateTime ?? 0) > wallMs) - 1;
  const piece = pieces[index];
  if (piece && piece.programDateTime !== null) {
    const intoS = (wallMs - piece.programDateTime) / 1_000;
    if (intoS < piece.duration) return { mediaS: piece.start + intoS, goesOnMs: null };
  }
  const next = pieces[index + 1];
  if (!next || next.programDateTime === null) return null;
  // Lists round durations: what is missing for less than a picture or two is no gap.
  const isGap = next.programDateTime - wallMs > GAP_MS;
  return { mediaS: next.start, goesOnMs: isGap ? next.programDateTime : null };
}

/** The first for which it is so, where it is so for all behind it. */
function firstBehind(pieces: readonly Piece[], is: (piece: Piece) => boolean): number {
  let [low, high] = [0, pieces.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const piece = pieces[middle];
    if (piece && is(piece)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** A picture may be shown a little before its piece begins. */
const SLACK_S = 0.005;
const GAP_MS = 250;
