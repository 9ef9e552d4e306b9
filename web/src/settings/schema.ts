/** Forms of the settings: what the server's JSON Schema says of each key, which field that makes, and what is asked for when one is changed. Pure. */

export type Kind = 'switch' | 'number' | 'text' | 'choice' | 'list' | 'measure' | 'secret';
export type Takes = 'now' | 'next-session' | 'restart';
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export interface Field {
  /** Within its table: `['mode']`, or `['record', 'mode']` of a table in it. */
  readonly path: readonly string[];
  readonly kind: Kind;
  readonly doc: string;
  /** Of texts, what they are: `time span`. */
  readonly format: string | null;
  readonly fallback: Json;
  readonly example: Json;
  readonly least: number | null;
  readonly most: number | null;
  /** `true` and `false` are no texts in it. */
  readonly words: boolean;
  readonly choices: readonly { readonly value: string; readonly what: string }[];
  /** It may be left out, which is not the same as any value. */
  readonly optional: boolean;
  readonly takes: Takes;
  readonly variable: string;
  /** The server does not take it by HTTP. */
  readonly byHand: boolean;
}

export interface Section {
  readonly name: string;
  readonly doc: string;
  /** There is a table for each name. */
  readonly named: boolean;
  readonly fields: readonly Field[];
}

interface Node {
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly description?: string;
  readonly default?: Json;
  readonly examples?: readonly Json[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Node;
  readonly oneOf?: readonly { readonly const?: string; readonly description?: string }[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly additionalProperties?: Node | boolean;
  readonly 'x-takes'?: Takes;
  readonly 'x-variable'?: string;
  readonly 'x-by-hand'?: boolean;
}

/** All sections, in the order of the schema. */
export function sectionsOf(schema: unknown): Section[] {
  return Object.entries((schema as Node).properties ?? {}).map(([name, node]) => {
    const table = typeof node.additionalProperties === 'object' ? node.additionalProperties : null;
    return { name, doc: plain(node.description), named: table !== null, fields: fieldsOf(table ?? node) };
  });
}

function fieldsOf(table: Node, within: readonly string[] = []): Field[] {
  return Object.entries(table.properties ?? {}).flatMap(([name, node]) => {
    const path = [...within, name];
    return node.properties ? fieldsOf(node, path) : [fieldOf(path, node)];
  });
}

function fieldOf(path: readonly string[], node: Node): Field {
  const types = [node.type ?? 'string'].flat();
  return {
    path,
    kind: kindOf(node, types),
    doc: plain(node.description),
    format: node.format ?? null,
    fallback: node.default ?? null,
    example: node.examples?.[0] ?? null,
    least: node.minimum ?? null,
    most: node.maximum ?? null,
    words: types.includes('boolean'),
    choices: (node.oneOf ?? []).map((one) => ({ value: one.const ?? '', what: plain(one.description) })),
    optional: types.includes('null'),
    takes: node['x-takes'] ?? 'restart',
    variable: node['x-variable'] ?? '',
    byHand: node['x-by-hand'] ?? false,
  };
}

function kindOf(node: Node, types: readonly string[]): Kind {
  if (node.oneOf) return 'choice';
  if (node.format === 'secret' || node.format === 'command') return 'secret';
  // `"auto"` besides is a text, of which two words are none.
  if (types.includes('boolean') && !types.includes('string')) return 'switch';
  // Polygons and the like are written as one text.
  if (types.includes('array')) return node.items?.type === 'array' ? 'text' : 'list';
  if (!types.includes('string')) return 'number';
  return MEASURES.test(node.format ?? '') ? 'measure' : 'text';
}

/** Descriptions are broken where the source was. */
function plain(text: string | undefined): string {
  return (text ?? '').replace(/\s*\n\s*/g, ' ').trim();
}

/** A value as it stands in its field. */
export function shown(field: Field, value: Json): string {
  if (value === null || field.kind === 'secret') return '';
  if (Array.isArray(value) && field.kind === 'list') return value.map(said).join('\n');
  return said(value);
}

/** For people. */
export function said(value: Json | undefined): string {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value) && value.every((one) => typeof one !== 'object')) return value.map(String).join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** What a field asks for; `null`: what holds where nothing is set. What is no number is sent as it is: the server says what is wrong with it. */
export function read(field: Field, text: string): Json {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  switch (field.kind) {
    case 'switch':
      return trimmed === 'true';
    case 'number': {
      const number = Number(trimmed);
      return Number.isFinite(number) ? number : trimmed;
    }
    case 'list':
      return trimmed.split('\n').map((line) => line.trim()).filter(Boolean);
    default:
      return field.words && /^(true|false)$/.test(trimmed) ? trimmed === 'true' : trimmed;
  }
}

/** The value at a path of `GET config`'s settings. */
export function valueAt(settings: unknown, path: readonly string[]): Json {
  let value: unknown = settings;
  for (const name of path) value = typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : null;
  return (value ?? null) as Json;
}

export function same(one: Json, other: Json): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** A change, by the path of its key, or of a table that is to be there (an empty object) or to go (null). */
export interface Edit {
  readonly path: readonly string[];
  readonly value: Json;
}

/** What is sent for changes: an object of sections (RFC 7396). */
export function patchOf(edits: readonly Edit[]): Record<string, Json> {
  type Tree = { [name: string]: Json | Tree };
  const patch: Tree = {};
  edits: for (const { path, value } of edits) {
    let table = patch;
    for (const name of path.slice(0, -1)) {
      const next = table[name];
      // What goes takes its keys along.
      if (next === null && Object.hasOwn(table, name)) continue edits;
      // A name may be one that objects have already.
      table = (typeof next === 'object' && next !== null && Object.hasOwn(table, name) ? next : put(table, name, {})) as Tree;
    }
    const last = path.at(-1) ?? '';
    const there = Object.hasOwn(table, last) ? table[last] : undefined;
    // A table that is made has its keys already.
    if (!(typeof there === 'object' && there !== null && typeof value === 'object' && value !== null && !Array.isArray(value))) put(table, last, value);
  }
  return patch as Record<string, Json>;

  function put(table: Tree, name: string, value: Json | Tree): Json | Tree {
    Object.defineProperty(table, name, { value, enumerable: true, configurable: true, writable: true });
    return value;
  }
}

/** The changes that take these back; `null` where a secret is among them, of which nobody knows what it was. */
export function undone(edits: readonly Edit[], settings: unknown, origins: Readonly<Record<string, string>>): Edit[] | null {
  const back = edits.flatMap(({ path }): Edit[] => {
    const key = path.join('.');
    const value = valueAt(settings, path);
    if (Object.hasOwn(origins, key)) return [{ path, value }];
    // Of a table that is to come back what was set in it, and not what holds by default.
    const set = Object.keys(origins).filter((one) => one.startsWith(`${key}.`)).map((one) => [...path, ...one.slice(key.length + 1).split('.')]);
    if (set.length > 0) return set.map((inner) => ({ path: inner, value: valueAt(settings, inner) }));
    return [{ path, value: isTable(value) ? {} : null }];
  });
  return back.some(({ value }) => /\[redacted\]|\*\*\*/.test(JSON.stringify(value))) ? null : back;
}

function isTable(value: Json): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a setting is meant by what is searched for: all words are in its name or description. */
export function found(words: string, ...texts: readonly string[]): boolean {
  const text = texts.join(' ').toLowerCase().replaceAll('_', ' ');
  return words.toLowerCase().replaceAll('_', ' ').split(/\s+/).filter(Boolean).every((word) => text.includes(word));
}

/** `part_duration` as a heading. */
export function titleOf(path: readonly string[]): string {
  const text = path.join(' › ').replaceAll('_', ' ');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

const MEASURES = /^(time span|amount of bytes|bitrate|part of |time in seconds|length of )/;
