/** A QR code as one path, a unit a module, with its quiet zone. Pure. */

export interface Drawn {
  /** Units a side. */
  readonly side: number;
  readonly path: string;
}

/** `rows` as `POST /api/v1/qr` gives them. */
export function draw(rows: readonly string[]): Drawn {
  let path = '';
  for (const [y, row] of rows.entries()) {
    for (const { index = 0, 0: run } of row.matchAll(/1+/g)) path += `M${index + QUIET} ${y + QUIET}h${run.length}v1h-${run.length}z`;
  }
  return { side: rows.length + 2 * QUIET, path };
}

/** Modules around it, as readers want them (ISO/IEC 18004). */
const QUIET = 4;
