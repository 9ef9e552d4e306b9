/** Several cameras at one instant: who leads, who follows, and what is done where nothing is recorded. */
import { Leader } from './steer';
import { Track, type Deps, type State } from './track';

export interface Player {
  readonly at: number;
  readonly running: boolean;
  readonly rate: number;
  readonly states: ReadonlyMap<string, State>;
  /** Too few pictures come at this rate: the strip is to be shown in their place. */
  readonly sparse: boolean;
}

export class Play {
  /** The first leads. */
  #tracks = new Map<string, Track>();
  #leader: Leader;
  #rate = 1;
  #running = false;
  #stepping = false;
  #looking = false;
  #sparse = false;

  constructor(
    at: number,
    private readonly now: () => number,
    /** When the first of these cameras goes on behind an instant; `null`: none does. */
    private readonly goesOn: (cameras: readonly string[], at: number) => Promise<number | null>,
  ) {
    this.#leader = new Leader(at, now());
  }

  add(camera: string, deps: Deps): () => void {
    const track = new Track(deps);
    this.#tracks.set(camera, track);
    return () => {
      track.close();
      if (this.#tracks.get(camera) === track) this.#tracks.delete(camera);
    };
  }

  seek(at: number): void {
    this.#leader.set(at, this.now());
    this.#sparse = false;
  }

  run(running: boolean): void {
    this.#running = running;
    this.#leader.run(running, this.now());
  }

  rate(rate: number): void {
    this.#rate = rate;
    this.#leader.rate(rate, this.now());
    this.#sparse = false;
  }

  mute(camera: string, muted: boolean): void {
    const track = this.#tracks.get(camera);
    if (track) track.muted = muted;
  }

  async step(by: 1 | -1): Promise<void> {
    const [first] = this.#tracks.values();
    if (!first || this.#stepping) return;
    this.run(false);
    this.#stepping = true;
    const at = await first.step(by);
    this.#stepping = false;
    if (at !== null) this.seek(at);
  }

  /** Several times a second. */
  tick(): Player {
    const now = this.now();
    const [first] = this.#tracks.values();
    const held = this.#running && first !== undefined && first.waits && first.state.kind !== 'gap' && first.state.kind !== 'failed';
    this.#leader.run(this.#running && !held, now);
    if (this.#running && first?.wallMs != null && !held) {
      // Its own clock is smoother than being steered; what is far off was sought, and is on its way.
      if (Math.abs(first.wallMs - this.#leader.at(now)) < OWN_MS * this.#rate) this.#leader.set(first.wallMs, now);
    }
    const at = this.#leader.at(now);
    if (!this.#stepping) for (const track of this.#tracks.values()) track.follow(at, this.#running ? this.#rate : 0);
    this.#acrossGaps(at);
    if (this.#rate >= SPARSE_RATE && this.#running && first && first.state.kind === 'shown' && first.fps > 0) this.#sparse = first.fps < SPARSE_FPS;
    return {
      at,
      running: this.#running,
      rate: this.#rate,
      states: new Map([...this.#tracks].map(([camera, track]) => [camera, track.state])),
      sparse: this.#sparse && this.#running,
    };
  }

  close(): void {
    for (const track of this.#tracks.values()) track.close();
    this.#tracks.clear();
  }

  /** Where none of them has anything it goes on where the first does. */
  #acrossGaps(at: number): void {
    const states = [...this.#tracks.values()].map(({ state }) => state);
    if (!this.#running || this.#looking || states.length === 0 || states.some(({ kind }) => kind !== 'gap')) return;
    const known = states.map((state) => (state.kind === 'gap' ? state.goesOnMs : null));
    if (known.every((time) => time !== null)) {
      this.seek(Math.min(...known));
      return;
    }
    this.#looking = true;
    const cameras = [...this.#tracks.keys()];
    this.goesOn(cameras, at)
      .catch(() => null)
      .then((next) => {
        this.#looking = false;
        if (next === null) this.run(false);
        else this.seek(next);
      });
  }
}

const OWN_MS = 1_500;
const SPARSE_RATE = 8;
const SPARSE_FPS = 10;
