/** Cameras as the settings have them: what is listed, what can be changed, the change itself. Pure. */
import type { Reason, StreamValue } from '../feed/values';

/** Of `GET config`, as far as it is read here. */
export interface Config {
  readonly settings: {
    readonly stream?: Readonly<Record<string, Table>>;
    readonly camera?: Readonly<Record<string, Table>>;
    readonly record?: Table;
  };
  readonly origins: Readonly<Record<string, string>>;
}
export type Table = Readonly<Record<string, unknown>>;

/** Of `GET sources`. */
export interface Source {
  readonly stream: string;
  readonly state: string;
  readonly on_demand: boolean;
  readonly reconnects: number;
  readonly url?: string;
  readonly why?: string;
  readonly until?: string;
}

/** Of `GET streams`. */
export interface Measured {
  readonly name: string;
  readonly keyframe_seconds: number | null;
}

export interface Row {
  readonly name: string;
  readonly stream: StreamValue | null;
  readonly source: Source | null;
  readonly keyframeSeconds: number | null;
  /** Where it stands in the settings; `null`: somebody publishes it, or it is known by an expression. */
  readonly table: 'stream' | 'camera' | null;
}

export type State = 'live' | 'held' | 'connecting' | 'waiting' | 'failed' | 'idle' | 'off';

/** What there is to operate, by name: streams that are there, those that are fetched, and those that the settings have. */
export function rows(streams: readonly StreamValue[], sources: readonly Source[], measured: readonly Measured[], config: Config | null, may: (name: string) => boolean): Row[] {
  const [tables, cameras] = [config?.settings.stream ?? {}, config?.settings.camera ?? {}];
  const set = (all: Readonly<Record<string, Table>>): string[] => Object.keys(all).filter((name) => !name.startsWith('~'));
  const fetched = set(tables).filter((name) => tables[name]?.['source'] != null);
  const there = streams.filter(({ state }) => state !== 'ended');
  const names = new Set([...there.map(({ name }) => name), ...sources.map(({ stream }) => stream), ...fetched, ...set(cameras)]);
  return [...names].filter(may).sort().map((name) => ({
    name,
    stream: streams.find((stream) => stream.name === name) ?? null,
    source: sources.find(({ stream }) => stream === name) ?? null,
    keyframeSeconds: measured.find((stream) => stream.name === name)?.keyframe_seconds ?? null,
    table: name in cameras ? 'camera' : fetched.includes(name) ? 'stream' : null,
  }));
}

export function stateOf({ stream, source }: Row): State {
  if (stream?.state === 'live') return 'live';
  if (source?.state === 'failed' || source?.state === 'waiting' || source?.state === 'connecting') return source.state;
  if (stream?.state === 'held') return 'held';
  return source?.on_demand ? 'idle' : 'off';
}

/** Of what is wrong with it the worst first; nothing where nothing is said of a camera that is not there. */
export function gradeOf(row: Row, health: readonly Reason[]): { grade: Reason['grade']; reasons: readonly Reason[] } | null {
  const worst = ['bad', 'poor', 'good'] as const;
  const reasons = health.filter(({ of, grade }) => of === row.name && grade !== 'good').sort((one, other) => worst.indexOf(one.grade) - worst.indexOf(other.grade));
  const grade = reasons[0]?.grade ?? (stateOf(row) === 'live' ? 'good' : null);
  return grade === null ? null : { grade, reasons };
}

/** What is shown in place of a login in a URL cannot be sent back. */
export function isHidden(value: unknown): boolean {
  return typeof value === 'string' ? value.includes('***') || value === '[redacted]' : Array.isArray(value) && value.some(isHidden);
}

/** The keys of a table that are given, not defaults; inner tables with theirs. */
export function given(config: Config, section: 'stream' | 'camera', name: string): Record<string, unknown> {
  const table = config.settings[section]?.[name] ?? {};
  const is = (key: string): boolean => `${section}.${name}.${key}` in config.origins;
  const found: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(table)) {
    if (is(key)) found[key] = value;
    else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const inner = Object.entries(value).filter(([within]) => is(`${key}.${within}`));
      if (inner.length > 0) found[key] = Object.fromEntries(inner);
    }
  }
  return found;
}

/** Whether some of its keys stand in variables or flags, where nothing is changed by the page. */
export function heldBy(config: Config, section: 'stream' | 'camera', name: string): string | null {
  const begins = `${section}.${name}.`;
  const origin = Object.entries(config.origins).find(([key, from]) => key.startsWith(begins) && /\((environment|command line)\)$|^--/.test(from));
  return origin?.[1] ?? null;
}

export interface Wish {
  readonly name: string;
  readonly source?: string;
  readonly credential?: string | null;
  readonly fingerprint?: string | null;
  readonly record: boolean;
  readonly onDemand: boolean;
}

/** As `PATCH config` takes it, for a camera that is new. */
export function added(wish: Wish): unknown {
  const table: Record<string, unknown> = { source: wish.source };
  if (wish.credential) table['credential'] = wish.credential;
  if (wish.fingerprint) table['source_fingerprint'] = wish.fingerprint;
  if (wish.onDemand) table['on_demand'] = true;
  if (wish.record) table['record'] = { enabled: true };
  return { stream: { [wish.name]: table } };
}

/** The same of a camera of the server's machine. */
export function addedDevice(name: string, source: string, overlay: boolean): unknown {
  return { camera: { [name]: { source, ...(overlay ? {} : { overlay: 'off' }) } } };
}

/** The same of one that is there: what stays is left out, and another name is another table with all that is given. */
export function changed(config: Config, before: string, wish: Wish): unknown {
  const there = given(config, 'stream', before);
  const record = { ...((there['record'] as object | undefined) ?? {}), enabled: wish.record };
  const recorded = isRecorded(config, before) !== wish.record;
  const over: Record<string, unknown> = { on_demand: wish.onDemand };
  if (wish.source !== undefined) over['source'] = wish.source;
  if (wish.credential !== undefined) over['credential'] = wish.credential;
  if (wish.name === before) return { stream: { [before]: recorded ? { ...over, record: { enabled: wish.record } } : over } };
  const all = Object.fromEntries(Object.entries({ ...there, ...over, ...(recorded ? { record } : {}) }).filter(([, value]) => value !== null));
  return { stream: { [before]: null, [wish.name]: all } };
}

/** Whether it is recorded by the settings, its own or those of all. */
export function isRecorded(config: Config, name: string): boolean {
  const own = (config.settings.stream?.[name]?.['record'] as Table | null | undefined)?.['enabled'];
  return Boolean(own ?? config.settings.record?.['enabled'] ?? false);
}
