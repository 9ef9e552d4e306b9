import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { browserOf, made } from '../src/settings/asked.svelte';
import { csv } from '../src/settings/csv';
import { diff } from '../src/settings/diff';
import { found, patchOf, read, same, sectionsOf, shown, undone, valueAt, type Field } from '../src/settings/schema';
import { settings as en } from '../src/words/en/settings';
import { settings as vi } from '../src/words/vi/settings';
import { random as randomOf } from './random';

const schema = JSON.parse(readFileSync(new URL('../../docs/reference/sightline.schema.json', import.meta.url), 'utf8')) as {
  properties: Record<string, { properties?: object; additionalProperties?: { properties?: Record<string, { properties?: object }> } | false }>;
};
const sections = sectionsOf(schema);
const fieldOf = (path: string): Field => {
  const [section, ...rest] = path.split('.');
  const found = sections.find(({ name }) => name === section)?.fields.find((field) => field.path.join('.') === rest.join('.'));
  if (!found) throw new Error(path);
  return found;
};

describe('forms', () => {
  it('have a field for each key of the schema', () => {
    for (const [name, node] of Object.entries(schema.properties)) {
      const table = node.additionalProperties ? node.additionalProperties : node;
      const keys = Object.entries((table.properties ?? {}) as Record<string, { properties?: object }>).flatMap(([key, inner]) =>
        inner.properties ? Object.keys(inner.properties).map((one) => `${key}.${one}`) : [key],
      );
      const section = sections.find((one) => one.name === name);
      expect(section?.fields.map(({ path }) => path.join('.')), name).toEqual(keys);
      expect(section?.named, name).toBe(Boolean(node.additionalProperties));
      for (const field of section?.fields ?? []) expect(field.doc, `${name}.${field.path.join('.')}`).not.toBe('');
    }
  });

  it('have names for all sections, in both languages', () => {
    for (const { name } of sections) expect([en.sections[name], vi.sections[name]], name).not.toContain(undefined);
  });

  it('know seven kinds', () => {
    const kinds = {
      'rtsp.udp': 'switch',
      'rtsp.port': 'number',
      'rtsp.timeout': 'measure',
      'limits.stream_memory': 'measure',
      'log.format': 'choice',
      'log.level': 'text',
      'webrtc.additional_hosts': 'list',
      'stream.source': 'list',
      'stream.motion.mask': 'text',
      'auth.token': 'secret',
      'stream.run_on_read': 'secret',
      'stream.record.enabled': 'switch',
    };
    for (const [path, kind] of Object.entries(kinds)) expect(fieldOf(path).kind, path).toBe(kind);
    expect([fieldOf('rtsp.port').least, fieldOf('rtsp.port').most]).toEqual([0, 65_535]);
    expect(fieldOf('stream.record.enabled').optional).toBe(true);
  });

  it('read what they show', () => {
    for (const section of sections) {
      for (const field of section.fields) {
        const values = [field.fallback, field.example].filter((value) => value !== null && field.kind !== 'secret');
        for (const value of values) {
          const back = read(field, shown(field, value));
          // Nothing in a list or a text is what holds where nothing is set; one text is a list of one.
          const expected = value === '' || (Array.isArray(value) && value.length === 0) ? null : field.kind === 'list' && !Array.isArray(value) ? [value] : value;
          const text = typeof expected === 'object' && expected !== null && field.kind === 'text' ? JSON.stringify(expected) : expected;
          expect(same(back, text ?? null) || String(back) === String(text), `${section.name}.${field.path.join('.')}: ${JSON.stringify([value, back])}`).toBe(true);
        }
      }
    }
    expect(read(fieldOf('rtsp.port'), ' 8 554 ')).toBe('8 554');
    expect(read(fieldOf('rtsp.port'), '9554')).toBe(9_554);
    expect(read(fieldOf('auth.token'), '')).toBe(null);
  });

  it('never show a secret', () => {
    expect(shown(fieldOf('auth.token'), '[redacted]')).toBe('');
  });

  it('ask for what was changed and nothing else', () => {
    const edits = [
      { path: ['log', 'level'], value: 'debug' },
      { path: ['stream', 'a.b'], value: {} },
      { path: ['stream', 'a.b', 'record', 'keep'], value: null },
      { path: ['stream', '__proto__', 'on_demand'], value: true },
      { path: ['webhook', 'old'], value: null },
    ];
    const patch = patchOf(edits);
    expect(JSON.stringify(patch)).toBe('{"log":{"level":"debug"},"stream":{"a.b":{"record":{"keep":null}},"__proto__":{"on_demand":true}},"webhook":{"old":null}}');
    expect(({} as Record<string, unknown>)['on_demand']).toBe(undefined);
    // A table that is added after its keys keeps them.
    expect(patchOf([{ path: ['stream', 'x', 'on_demand'], value: true }, { path: ['stream', 'x'], value: {} }])).toEqual({ stream: { x: { on_demand: true } } });
  });

  it('go back to what was, but for secrets', () => {
    const settings = { log: { level: 'warn', format: 'human' }, auth: { token: '[redacted]' }, stream: { door: { source: 'rtsp://***@host/a' } } };
    const origins = { 'log.level': 'sightline.toml:2:1', 'auth.token': 'sightline.toml:4:1', 'stream.door.source': 'sightline.toml:6:1' };
    expect(undone([{ path: ['log', 'level'], value: 'debug' }, { path: ['log', 'format'], value: 'json' }], settings, origins)).toEqual([
      { path: ['log', 'level'], value: 'warn' },
      { path: ['log', 'format'], value: null },
    ]);
    expect(undone([{ path: ['auth', 'token'], value: 'x' }], settings, origins)).toBe(null);
    expect(undone([{ path: ['stream', 'door'], value: null }], settings, origins)).toBe(null);
    expect(undone([{ path: ['stream', 'new'], value: {} }], settings, origins)).toEqual([{ path: ['stream', 'new'], value: null }]);
    // A table that was made goes with its keys; one that went comes back with what was set in it, and no default.
    const made = [{ path: ['stream', 'new'], value: {} }, { path: ['stream', 'new', 'always_available'], value: true }];
    expect(patchOf(undone(made, settings, origins) ?? [])).toEqual({ stream: { new: null } });
    const there = { stream: { yard: { always_available: true, on_demand: false, record: { enabled: true, keep: '7d' } }, bare: { on_demand: false } } };
    const set = { 'stream.yard.always_available': 'file', 'stream.yard.record.enabled': 'file' };
    expect(patchOf(undone([{ path: ['stream', 'yard'], value: null }], there, set) ?? [])).toEqual({
      stream: { yard: { always_available: true, record: { enabled: true } } },
    });
    expect(undone([{ path: ['stream', 'bare'], value: null }], there, set)).toEqual([{ path: ['stream', 'bare'], value: {} }]);
    expect(valueAt(settings, ['stream', 'toString', 'x'])).toBe(null);
  });

  it('are found by their names and what they do', () => {
    expect(found('part DURATION', 'hls.part_duration', 'How long')).toBe(true);
    expect(found('how part', 'hls.part_duration', 'How long')).toBe(true);
    expect(found('port', 'hls.part_duration', 'How long')).toBe(false);
  });
});

describe('the difference of two texts', () => {
  it('has the numbers of lines on both sides', () => {
    const lines = diff('a\nb\nc\nd\ne\nf\ng\nh\ni\nj', 'a\nb\nc\nd\nE\nf\ng\nh\ni\nj\nk', 1);
    expect(lines.map((line) => (line === null ? '…' : `${line.before ?? ' '}/${line.after ?? ' '} ${line.kind} ${line.text}`))).toEqual([
      '4/4 same d',
      '5/  gone e',
      ' /5 new E',
      '6/6 same f',
      '…',
      '10/10 same j',
      ' /11 new k',
    ]);
    expect(diff('a\nb', 'a\nb')).toEqual([]);
  });

  it('makes the one of the other, whatever they are', () => {
    const random = randomOf(7);
    for (let round = 0; round < 200; round++) {
      const text = (): string => Array.from({ length: Math.floor(random() * 12) }, () => 'abc'[Math.floor(random() * 3)]).join('\n');
      const [before, after] = [text(), text()];
      const lines = diff(before, after, 100).flatMap((line) => (line === null ? [] : [line]));
      const side = (gone: 'gone' | 'new'): string => lines.filter(({ kind }) => kind !== gone).map((line) => line.text).join('\n');
      if (before === after) expect(lines).toEqual([]);
      else expect([side('new'), side('gone')]).toEqual([before, after]);
    }
  });

  it('is found of a long file at once', () => {
    const long = Array.from({ length: 20_000 }, (_, index) => `line ${index}`);
    const began = performance.now();
    const changed = diff(long.join('\n'), long.map((line, index) => (index % 2 === 0 ? line : `${line}!`)).join('\n'));
    expect(changed.length).toBeGreaterThan(20_000);
    expect(performance.now() - began).toBeLessThan(3_000);
  });
});

describe('a table for other programs', () => {
  it('is quoted, and no formula', () => {
    expect(csv(['who', 'n'], [['a "b", c', 1], ['=HYPERLINK(1)', -2]])).toBe('who,n\r\n"a ""b"", c",1\r\n\'=HYPERLINK(1),-2\r\n');
  });
});

describe('people', () => {
  it('know their browsers', () => {
    expect(browserOf('Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36')).toBe('Chrome · Linux');
    expect(browserOf('Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1')).toBe('Safari · iPhone');
    expect(browserOf('curl/8.5.0')).toBe('curl/8.5.0');
  });

  it('are given passwords that nobody guesses', () => {
    expect(made()).toMatch(/^([a-z2-9]{5}-){3}[a-z2-9]{5}$/);
    expect(made((bytes) => bytes.fill(0))).toBe('aaaaa-aaaaa-aaaaa-aaaaa');
  });
});

describe('Vietnamese', () => {
  const texts = (of: object): [string, unknown][] => Object.entries(of).flatMap(([name, value]): [string, unknown][] => (typeof value === 'object' && value !== null ? texts(value as object) : [[name, value]]));

  it('is Vietnamese', () => {
    const english = new Map(texts(en));
    const left = texts(vi).filter(([name, text]) => english.get(name) === text);
    expect(left).toEqual([]);
  });
});
