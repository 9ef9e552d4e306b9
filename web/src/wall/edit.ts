/** Changing a layout: what moving a tile does to the others. Functions of numbers, loaded when somebody arranges. */
import { COLUMNS, MAX_HEIGHT, MAX_ROWS, MAX_TILES, overlaps, rowsOf, type Layout, type Tile } from './grid';

/** The same with a tile in another place or of another size. What is in its way goes down, and all goes up as far as it can. */
export function changed(layout: Layout, index: number, to: Partial<Pick<Tile, 'x' | 'y' | 'w' | 'h'>>): Layout {
  const before = layout.tiles[index];
  if (!before) return layout;
  const w = clamp(to.w ?? before.w, 1, COLUMNS);
  const h = clamp(to.h ?? before.h, 1, MAX_HEIGHT);
  const x = clamp(to.x ?? before.x, 0, COLUMNS - w);
  const y = clamp(to.y ?? before.y, 0, MAX_ROWS - h);
  const moved: Tile = { ...before, x, y, w, h };
  const order = layout.tiles.map((tile, number) => ({ number, tile: number === index ? moved : tile }));
  // The one that is held comes first where it is put; the others keep their order from above.
  order.sort((a, b) => Number(b.number === index) - Number(a.number === index) || a.tile.y - b.tile.y || a.tile.x - b.tile.x);
  const settled: Tile[] = [];
  const places = new Map<number, Tile>();
  for (const { number, tile } of order) {
    const free = number === index ? tile : { ...tile, y: freeFrom(tile, settled) };
    settled.push(free);
    places.set(number, free);
  }
  const tiles = compacted(layout.tiles.map((tile, number) => places.get(number) ?? tile));
  // What would be pushed off the wall does not happen.
  return rowsOf({ columns: COLUMNS, tiles }) > MAX_ROWS ? layout : { columns: COLUMNS, tiles };
}

/** The first row from where it is on in which it is in nobody's way. */
function freeFrom(tile: Tile, others: readonly Tile[]): number {
  let { y } = tile;
  for (;;) {
    const other = others.find((settled) => overlaps([tile.x, y, tile.w, tile.h], settled));
    if (!other) return y;
    y = other.y + other.h;
  }
}

/** Without rows that nobody is in. */
function compacted(tiles: readonly Tile[]): Tile[] {
  const order = tiles.map((tile, number) => ({ tile, number })).sort((a, b) => a.tile.y - b.tile.y || a.tile.x - b.tile.x);
  const settled: Tile[] = [];
  const result = [...tiles];
  for (const { tile, number } of order) {
    let { y } = tile;
    while (y > 0 && !settled.some((other) => overlaps([tile.x, y - 1, tile.w, tile.h], other))) y--;
    const risen = { ...tile, y };
    settled.push(risen);
    result[number] = risen;
  }
  return result;
}

/** With another camera, in the first place that is free and large enough; the same layout where it is full. */
export function added(layout: Layout, camera: string): Layout {
  if (layout.tiles.length >= MAX_TILES) return layout;
  const [w, h] = [NEW_SIZE, NEW_SIZE];
  for (let y = 0; y <= MAX_ROWS - h; y++) {
    for (let x = 0; x <= COLUMNS - w; x++) {
      if (layout.tiles.some((tile) => overlaps([x, y, w, h], tile))) continue;
      return { columns: COLUMNS, tiles: [...layout.tiles, { camera, x, y, w, h, fit: 'contain' }] };
    }
  }
  return layout;
}

export function removed(layout: Layout, index: number): Layout {
  return { columns: COLUMNS, tiles: compacted(layout.tiles.filter((_, number) => number !== index)) };
}

export function fitted(layout: Layout, index: number, fit: Tile['fit']): Layout {
  return { columns: COLUMNS, tiles: layout.tiles.map((tile, number) => (number === index ? { ...tile, fit } : tile)) };
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, Math.round(value)));
}

const NEW_SIZE = 4;
