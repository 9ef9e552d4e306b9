/** The newest values of a figure, in arrays of fixed size that are written round: hours of them take what the first minutes took. */

/** The times of values that come together, so that the figures of one stream keep theirs once. */
export class Times {
  readonly #at: Float64Array;
  #count = 0;

  constructor(readonly capacity: number) {
    this.#at = new Float64Array(capacity);
  }

  /** How many there were ever. */
  get count(): number {
    return this.#count;
  }

  /** Answers whether everything of before is forgotten, as when the server's clock was set back. */
  push(atS: number): boolean {
    const back = this.#count > 0 && atS < this.at(this.#count - 1);
    if (back) this.#count = 0;
    this.#at[this.#count % this.capacity] = atS;
    this.#count += 1;
    return back;
  }

  /** Of the value with this number; only the newest `capacity` are kept. */
  at(index: number): number {
    return this.#at[index % this.capacity] ?? Number.NaN;
  }

  /** The number of the first value that is kept and not before this time. */
  from(atS: number): number {
    let [low, high] = [Math.max(0, this.#count - this.capacity), this.#count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle) < atS) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What a chart takes: `null` where nothing is known, which is shown as a hole. */
export interface Points {
  readonly x: Float64Array;
  readonly y: (number | null)[];
}

export class Ring {
  readonly #times: Times;
  readonly #shared: boolean;
  readonly #values: Float32Array;

  /** `seconds`: how many values are kept; they come once a second. With `times` the owner of those pushes them. */
  constructor(seconds: number, times?: Times) {
    this.#times = times ?? new Times(seconds);
    this.#shared = times !== undefined;
    this.#values = new Float32Array(this.#times.capacity);
  }

  /** `atS`: Unix time. One that is before the newest forgets all there was. */
  push(atS: number, value: number | null): void {
    if (!this.#shared) this.#times.push(atS);
    this.#values[(this.#times.count - 1) % this.#times.capacity] = value ?? Number.NaN;
  }

  /** Those between the two times, both included, in order. */
  read(fromS: number, toS: number): Points {
    const first = this.#times.from(fromS);
    let end = first;
    while (end < this.#times.count && this.#times.at(end) <= toS) end++;
    const x = new Float64Array(end - first);
    const y = new Array<number | null>(end - first);
    for (let index = first; index < end; index++) {
      x[index - first] = this.#times.at(index);
      y[index - first] = this.#value(index);
    }
    return { x, y };
  }

  newest(): number | null {
    return this.#times.count === 0 ? null : this.#value(this.#times.count - 1);
  }

  #value(index: number): number | null {
    const value = this.#values[index % this.#times.capacity] ?? Number.NaN;
    return Number.isNaN(value) ? null : value;
  }
}

/** All figures of one stream, or of the machine: one time, many values. */
export class Series {
  readonly #times: Times;
  readonly #rings: ReadonlyMap<string, Ring>;

  constructor(seconds: number, names: readonly string[]) {
    this.#times = new Times(seconds);
    this.#rings = new Map(names.map((name) => [name, new Ring(seconds, this.#times)]));
  }

  push(atS: number, values: Readonly<Record<string, number | null>>): void {
    this.#times.push(atS);
    for (const [name, ring] of this.#rings) ring.push(atS, values[name] ?? null);
  }

  ring(name: string): Ring | undefined {
    return this.#rings.get(name);
  }
}
