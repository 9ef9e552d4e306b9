/** Stills of the tiles that do not play: each every two seconds, few under way at a time, none for tiles that nobody sees. No browser in here. */

export interface Source {
  /** Gets the picture of a camera; `null`: there is none. Rejects where it could not be asked. */
  get(camera: string, signal: AbortSignal): Promise<Still | null>;
  after(ms: number, call: () => void): () => void;
  now(): number;
}

export interface Still {
  readonly picture: Blob;
  /** When it was taken, ms of Unix time by the server's clock; `null` where it does not say. */
  readonly takenMs: number | null;
}

interface Asked {
  readonly shown: (still: Still | null) => void;
  dueMs: number;
  underway: AbortController | null;
}

export class Stills {
  #asked = new Map<string, Asked>();
  #underway = 0;
  #timer: (() => void) | null = null;

  constructor(private readonly source: Source) {}

  /** Wants pictures of a camera until the answer is called. */
  want(camera: string, shown: (still: Still | null) => void): () => void {
    const asked: Asked = { shown, dueMs: this.source.now(), underway: null };
    // A camera is on a wall once; the last who asks is the one that is shown.
    this.#asked.get(camera)?.underway?.abort();
    this.#asked.set(camera, asked);
    this.#next();
    return () => {
      if (this.#asked.get(camera) !== asked) return;
      this.#asked.delete(camera);
      asked.underway?.abort();
      if (this.#asked.size === 0) this.#rest();
    };
  }

  close(): void {
    for (const { underway } of this.#asked.values()) underway?.abort();
    this.#asked.clear();
    this.#rest();
  }

  #rest(): void {
    this.#timer?.();
    this.#timer = null;
  }

  #next(): void {
    this.#rest();
    const now = this.source.now();
    const waiting = [...this.#asked].filter(([, { underway }]) => underway === null).sort(([, a], [, b]) => a.dueMs - b.dueMs);
    for (const [camera, asked] of waiting) {
      if (this.#underway >= UNDERWAY) return;
      if (asked.dueMs > now) {
        this.#timer = this.source.after(asked.dueMs - now, () => this.#next());
        return;
      }
      this.#get(camera, asked);
    }
  }

  #get(camera: string, asked: Asked): void {
    const abort = new AbortController();
    asked.underway = abort;
    asked.dueMs = this.source.now() + EVERY_MS;
    this.#underway++;
    const done = (still: Still | null): void => {
      this.#underway--;
      if (asked.underway === abort) asked.underway = null;
      if (this.#asked.get(camera) === asked) asked.shown(still);
      this.#next();
    };
    this.source.get(camera, abort.signal).then(done, () => done(null));
  }
}

const EVERY_MS = 2_000;
/** Browsers open six connections to a host; the page has other things to ask for. */
const UNDERWAY = 4;
