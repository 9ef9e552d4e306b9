import { describe, expect, it } from 'vitest';
import { en } from '../src/words/en';
import { vi } from '../src/words/vi';

/** The same in both: names, signs and words that Vietnamese took over. */
const SAME = /^(Camera|Codec|RTSP|LL-HLS|WebRTC|Sightline|Home|End|Esc|[^\p{L}]*)$/u;

/** All texts that are no functions, by where they stand. */
function texts(of: object, path = ''): [string, string][] {
  return Object.entries(of).flatMap(([name, value]): [string, string][] => {
    const at = path === '' ? name : `${path}.${name}`;
    if (typeof value === 'string') return [[at, value]];
    return typeof value === 'object' && value !== null ? texts(value as object, at) : [];
  });
}

describe('Vietnamese', () => {
  const english = new Map(texts(en));

  it('is Vietnamese in all sections', () => {
    const left = texts(vi).filter(([at, text]) => english.get(at) === text && !SAME.test(text));
    expect(left).toEqual([]);
  });

  it('has functions of its own', () => {
    const functions = (of: object): unknown[] => Object.values(of).flatMap((value) => (typeof value === 'function' ? [value] : typeof value === 'object' && value !== null ? functions(value as object) : []));
    const theirs = new Set(functions(en));
    expect(functions(vi).filter((one) => theirs.has(one))).toEqual([]);
  });
});
