/**
 * The picture of one tile: a player, and while another rendition is begun, that one behind it. What plays is ended by who began it: at most two players a tile, none
 * after `close`.
 */
import type { Places } from '../config';
import type { Estimate } from '../player/clock';
import type { Report, Since } from '../player/latency';
import { Player } from '../player/player';
import type { Status } from '../player/supervisor';

export interface Seen {
  /** The stream that is on the tile. */
  readonly name: string;
  readonly status: Status;
}

interface Playing {
  readonly name: string;
  readonly player: Player;
  readonly stage: HTMLElement;
  status: Status;
}

let videos = 0;

export class Screen {
  #shown: Playing | null = null;
  #next: Playing | null = null;

  constructor(
    private readonly node: HTMLElement,
    private readonly places: Places,
    private readonly clock: () => Estimate | null,
    private readonly changed: (seen: Seen | null) => void,
  ) {}

  /** Plays this stream from now on; `null`: nothing. What is shown stays until the other one has a picture. */
  show(name: string | null): void {
    if (name === null) {
      this.close();
      return;
    }
    if ((this.#next ?? this.#shown)?.name === name) return;
    this.#end(this.#next);
    this.#next = null;
    if (this.#shown?.name === name) return;
    const playing = this.#begin(name);
    if (this.#shown) this.#next = playing;
    else this.#shown = playing;
    playing.player.start();
  }

  /** The server is back. */
  nudge(): void {
    this.#shown?.player.nudge();
    this.#next?.player.nudge();
  }

  describe(since: Since, toServerMs: number | null): void {
    this.#shown?.player.describe(since, toServerMs);
  }

  latency(): Report | null {
    return this.#shown?.player.latency() ?? null;
  }

  frames(): number {
    return this.#shown?.player.frames() ?? 0;
  }

  close(): void {
    this.#end(this.#next);
    this.#end(this.#shown);
    this.#next = null;
    this.#shown = null;
    this.changed(null);
  }

  #begin(name: string): Playing {
    const stage = document.createElement('div');
    stage.className = 'screen';
    this.node.prepend(stage);
    const player = new Player({
      stage,
      whep: this.places.whep(name),
      hls: this.places.hls(name),
      token: this.places.token,
      clock: this.clock,
      changed: (status) => this.#told(playing, status),
      id: `tile-${++videos}`,
    });
    const playing: Playing = { name, player, stage, status: { phase: 'connecting', message: null, lastPictureMs: null } };
    return playing;
  }

  #told(playing: Playing, status: Status): void {
    playing.status = status;
    if (playing === this.#next && (status.phase === 'live' || status.phase === 'fallen-back')) {
      const before = this.#shown;
      this.#shown = playing;
      this.#next = null;
      this.#end(before);
    }
    if (playing === this.#shown) this.changed({ name: playing.name, status });
  }

  #end(playing: Playing | null): void {
    playing?.player.close();
    playing?.stage.remove();
  }
}
