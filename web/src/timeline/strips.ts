/** Small pictures under the cursor: which sprite is wanted, which of its pictures, and which sprites are kept. No browser in here but what is handed in. */

/** Pictures of a minute side by side. */
export interface Sprite<Picture> {
  readonly picture: Picture;
  readonly width: number;
  readonly height: number;
  readonly columns: number;
  /** When each was taken, ms of Unix time, ascending. */
  readonly times: readonly number[];
}

/** Each sprite is of so much: a minute with a picture a second, an hour with one a minute. */
export const SPRITES_MS = [60_000, 600_000, 3_600_000] as const;

/** Of which length sprites are, where a pixel is so many ms. */
export function spriteMs(msPerPixel: number): number {
  return SPRITES_MS.find((length) => msPerPixel <= length / COARSE) ?? 3_600_000;
}
/** A sprite has 60 pictures; each is to be a few pixels wide at least, or one would jump over most. */
const COARSE = 240;

/** The picture that was shown at an instant: the newest in front of it, or the first. */
export function tileAt<P>({ times, width, height, columns }: Sprite<P>, at: number): { x: number; y: number; at: number } | null {
  let index = times.length - 1;
  while (index > 0 && (times[index] ?? 0) > at) index--;
  const time = times[index];
  return time === undefined ? null : { x: (index % columns) * width, y: Math.floor(index / columns) * height, at: time };
}

/** What the header fields of a strip say; `null`: they do not. */
export function spriteOf<P>(headers: { get(name: string): string | null }, picture: P): Sprite<P> | null {
  const [width, height] = (headers.get('x-tile-size') ?? '').split('x').map(Number);
  const columns = Number(headers.get('x-tile-columns'));
  const first = Date.parse(headers.get('x-capture-time') ?? '');
  const times = (headers.get('x-tile-times') ?? '').split(',').map((text) => first + Number(text));
  const known = width !== undefined && height !== undefined && width > 0 && height > 0 && columns > 0;
  return known && times.every(Number.isFinite) ? { picture, width, height, columns, times } : null;
}

/** The newest used, so many; what goes is closed. */
export class Sprites<P> {
  #kept = new Map<string, Sprite<P> | null>();

  constructor(
    private readonly close: (picture: P) => void,
    private readonly most = MAX_SPRITES,
  ) {}

  /** `undefined`: not asked for; `null`: there is none. */
  get(key: string): Sprite<P> | null | undefined {
    const sprite = this.#kept.get(key);
    if (sprite !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, sprite);
    }
    return sprite;
  }

  set(key: string, sprite: Sprite<P> | null): void {
    this.#drop(key);
    this.#kept.set(key, sprite);
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= this.most) return;
      this.#drop(oldest);
    }
  }

  clear(): void {
    for (const key of [...this.#kept.keys()]) this.#drop(key);
  }

  #drop(key: string): void {
    const sprite = this.#kept.get(key);
    if (sprite) this.close(sprite.picture);
    this.#kept.delete(key);
  }
}

export const MAX_SPRITES = 16;
