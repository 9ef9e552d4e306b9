/** The picture under the cursor: the strip's at once, the very picture when it rests. One request of each at a time, the newest wish wins. */
import { MAX_SPRITES, spriteMs, spriteOf, Sprites, tileAt, type Sprite } from './strips';
import type { Recordings } from './recordings';

export interface Shown {
  readonly bitmap: ImageBitmap;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** When it was taken. */
  readonly at: number;
}

export class Preview {
  #sprites = new Sprites<ImageBitmap>((bitmap) => bitmap.close());
  #underway: { key: string; abort: AbortController } | null = null;
  #wish: { camera: string; at: number; msPerPixel: number } | null = null;
  #over = false;
  /** Strips of what is being recorded get more pictures: from when on each is asked for again. */
  #again = new Map<string, number>();

  constructor(
    private readonly recordings: Recordings,
    private readonly headers: Record<string, string>,
    /** By the server's clock, ms. */
    private readonly now: () => number,
    /** A sprite came: who draws asks again. */
    private readonly changed: () => void,
  ) {}

  /** What is there of it now. It is asked for where it is not, and its neighbours are. */
  at(camera: string, at: number, msPerPixel: number): Shown | null {
    this.#wish = { camera, at, msPerPixel };
    const length = spriteMs(msPerPixel);
    const sprite = this.#sprites.get(keyOf(camera, at, length));
    this.#next();
    return sprite ? shownOf(sprite, at) : null;
  }

  close(): void {
    this.#over = true;
    this.#underway?.abort.abort();
    this.#sprites.clear();
  }

  #next(): void {
    const wish = this.#wish;
    if (!wish || this.#over) return;
    const length = spriteMs(wish.msPerPixel);
    const now = this.now();
    const wanted = [wish.at, wish.at + length, wish.at - length].find((at) => {
      const key = keyOf(wish.camera, at, length);
      const begun = Math.floor(at / length) * length < now;
      return begun && (this.#sprites.get(key) === undefined || (this.#again.get(key) ?? Number.POSITIVE_INFINITY) <= now);
    });
    if (wanted === undefined) return;
    const key = keyOf(wish.camera, wanted, length);
    if (this.#underway) {
      // What nobody looks at any more gives way to what somebody does.
      if (wanted !== wish.at || this.#underway.key === key) return;
      this.#underway.abort.abort();
    }
    const from = Math.floor(wanted / length) * length;
    const abort = new AbortController();
    const mine = { key, abort };
    this.#underway = mine;
    void this.#load(wish.camera, { from, to: from + length }, abort.signal).then((sprite) => {
      if (this.#underway === mine) this.#underway = null;
      if (this.#over || abort.signal.aborted) {
        sprite?.picture.close();
      } else {
        this.#sprites.set(key, sprite);
        this.#again.delete(key);
        if (this.#again.size > MAX_SPRITES) this.#again.clear();
        if (from + length + LATE_MS > now) this.#again.set(key, now + AGAIN_MS);
        this.changed();
      }
      this.#next();
    });
  }

  async #load(camera: string, span: { from: number; to: number }, signal: AbortSignal): Promise<Sprite<ImageBitmap> | null> {
    try {
      const answer = await fetch(this.recordings.stripUrl(camera, span), { headers: this.headers, signal });
      if (!answer.ok) return null;
      const picture = await createImageBitmap(await answer.blob());
      const sprite = spriteOf(answer.headers, picture);
      if (!sprite) picture.close();
      return sprite;
    } catch {
      return null;
    }
  }
}

function shownOf(sprite: Sprite<ImageBitmap>, at: number): Shown | null {
  const tile = tileAt(sprite, at);
  return tile && { bitmap: sprite.picture, width: sprite.width, height: sprite.height, ...tile };
}

function keyOf(camera: string, at: number, length: number): string {
  return `${Math.floor(at / length)} ${length} ${camera}`;
}

const AGAIN_MS = 10_000;
/** So late a picture may come into a strip. */
const LATE_MS = 15_000;
