/**
 * Where the tiles of a wall are: the grid that makes pictures largest, presets, and layouts that people made.
 *
 * Belongs here: functions of numbers. Does not belong here: changing a layout (`edit`), who plays (`budget`), where layouts are kept (`layouts`).
 */

/** A tile of a layout, in columns and rows of its grid. */
export interface Tile {
  /** The name of its stream. */
  readonly camera: string;
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
  /** The whole picture, or the whole tile. */
  readonly fit: 'contain' | 'cover';
}

export interface Layout {
  readonly columns: 12;
  readonly tiles: readonly Tile[];
}

/** Pixels from the left upper corner of the wall. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export interface Area {
  readonly width: number;
  readonly height: number;
}

export const COLUMNS = 12;
/** As many a wall shows at once. */
export const MAX_TILES = 36;
/** Of a layout, below which nothing is moved. */
export const MAX_ROWS = 48;
/** A picture that is narrower tells nothing; then a wall is scrolled. */
const LEAST_WIDTH = 150;
const SHAPE = 16 / 9;

/** How many columns make the pictures of so many tiles largest in this area, with `gap` pixels between them. */
export function bestColumns(tiles: number, { width, height }: Area, gap: number): number {
  let [best, widest] = [1, 0];
  for (let columns = 1; columns <= Math.max(1, tiles); columns++) {
    const rows = Math.ceil(tiles / columns);
    const across = (width - gap * (columns - 1)) / columns;
    const down = (height - gap * (rows - 1)) / rows;
    const picture = Math.min(across, down * SHAPE);
    // Of two that show them as large the wider one: two are side by side.
    if (picture >= widest) [best, widest] = [columns, picture];
  }
  return best;
}

/** Boxes of `auto`: as large as they get, and the wall as high as it has to be where they would be too small otherwise. */
export function auto(tiles: number, area: Area, gap: number): { boxes: Box[]; height: number } {
  if (tiles === 0 || area.width <= 0) return { boxes: [], height: 0 };
  let columns = bestColumns(tiles, area, gap);
  let rows = Math.ceil(tiles / columns);
  let width = (area.width - gap * (columns - 1)) / columns;
  let height = (area.height - gap * (rows - 1)) / rows;
  if (Math.min(width, height * SHAPE) < LEAST_WIDTH || isUpright(area)) {
    const most = Math.max(1, Math.floor((area.width + gap) / (LEAST_WIDTH + gap)));
    columns = isUpright(area) ? Math.min(most, tiles > UPRIGHT_ONE ? 2 : 1) : most;
    rows = Math.ceil(tiles / columns);
    width = (area.width - gap * (columns - 1)) / columns;
    height = width / SHAPE;
  }
  const boxes = Array.from({ length: tiles }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? tiles - row * columns : columns;
    // The last row is in the middle, as it is not full.
    const left = ((columns - inRow) * (width + gap)) / 2;
    return { left: left + (index % columns) * (width + gap), top: row * (height + gap), width, height };
  });
  return { boxes, height: rows * (height + gap) - gap };
}

/** A phone that is held upright scrolls, as all on it does. */
function isUpright({ width, height }: Area): boolean {
  return width < 600 && height > width;
}
const UPRIGHT_ONE = 6;

/** Boxes of a layout, which takes all of the area. */
export function placed(layout: Layout, area: Area, gap: number): Box[] {
  const rows = rowsOf(layout);
  const across = (area.width + gap) / COLUMNS;
  const down = (area.height + gap) / Math.max(1, rows);
  return layout.tiles.map(({ x, y, w, h }) => ({
    left: x * across,
    top: y * down,
    width: Math.max(0, w * across - gap),
    height: Math.max(0, h * down - gap),
  }));
}

export function rowsOf({ tiles }: Layout): number {
  return tiles.reduce((most, { y, h }) => Math.max(most, y + h), 0);
}

export const PRESETS = ['1', '2x2', '3x3', '4x4', 'main5', 'main7'] as const;
export type Preset = (typeof PRESETS)[number];

/** A preset with these cameras, the first ones in the largest places. */
export function preset(name: Preset, cameras: readonly string[]): Layout {
  const places = placesOf(name);
  const tiles = cameras.slice(0, places.length).map((camera, index): Tile => {
    const [x, y, w, h] = places[index] ?? [0, 0, 1, 1];
    return { camera, x, y, w, h, fit: 'contain' };
  });
  return { columns: COLUMNS, tiles };
}

export type Place = [x: number, y: number, w: number, h: number];

function placesOf(name: Preset): Place[] {
  switch (name) {
    case '1':
      return even(1);
    case '2x2':
      return even(2);
    case '3x3':
      return even(3);
    case '4x4':
      return even(4);
    case 'main5':
      return around(8, 4);
    case 'main7':
      return around(9, 3);
  }
}

function even(side: number): Place[] {
  const size = COLUMNS / side;
  return Array.from({ length: side * side }, (_, index) => [(index % side) * size, Math.floor(index / side) * size, size, size]);
}

/** A large one, and small ones down its right side and along its foot. */
function around(main: number, small: number): Place[] {
  const places: Place[] = [[0, 0, main, main]];
  for (let y = 0; y < COLUMNS; y += small) places.push([main, y, small, small]);
  for (let x = main - small; x >= 0; x -= small) places.push([x, main, small, small]);
  return places;
}

export function overlaps(a: Place | Tile, b: Tile): boolean {
  const [x, y, w, h] = Array.isArray(a) ? a : [a.x, a.y, a.w, a.h];
  return x < b.x + b.w && b.x < x + w && y < b.y + b.h && b.y < y + h;
}

/** What was kept somewhere, or comes from somebody else: a layout, or `null`. */
export function parse(text: string): Layout | null {
  if (text.length > MAX_TEXT) return null;
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return null;
  }
  const tiles = isRecord(read) && read['columns'] === COLUMNS ? read['tiles'] : null;
  if (!Array.isArray(tiles) || tiles.length > MAX_TILES) return null;
  const known: Tile[] = [];
  for (const tile of tiles) {
    const right = asTile(tile);
    if (right === null || known.some((other) => other.camera === right.camera || overlaps(right, other))) return null;
    known.push(right);
  }
  return { columns: COLUMNS, tiles: known };
}

function asTile(value: unknown): Tile | null {
  if (!isRecord(value)) return null;
  const { camera, fit } = value;
  const whole = (name: string, least: number, most: number): number | null => {
    const number = value[name];
    return typeof number === 'number' && Number.isInteger(number) && number >= least && number <= most ? number : null;
  };
  const w = whole('w', 1, COLUMNS);
  const h = whole('h', 1, MAX_HEIGHT);
  if (typeof camera !== 'string' || (fit !== 'contain' && fit !== 'cover') || w === null || h === null) return null;
  const x = whole('x', 0, COLUMNS - w);
  const y = whole('y', 0, MAX_ROWS - h);
  return x === null || y === null ? null : { camera, x, y, w, h, fit };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Of a tile. */
export const MAX_HEIGHT = 24;
/** Of a layout as text. */
export const MAX_TEXT = 8_192;
