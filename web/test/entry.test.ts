import { describe, expect, it } from 'vitest';
import { Problem } from '../src/api';
import { codeOf, takeCode } from '../src/entry/code';
import { fieldOf, lacking, nameFault, passwordFault, sentenceOf, shownBy } from '../src/entry/rules';
import { en } from '../src/words/en';
import { vi } from '../src/words/vi';

const CODE = 'q3x_9ZmT0-aQvB1cD2eF3g';

describe('the code of a link', () => {
  it.each([
    [`#${CODE}`, CODE],
    // As people copy it out of a sentence.
    [`#${CODE}.`, CODE],
    [`#${CODE})`, CODE],
    [`#${CODE}%20`, CODE],
    ['', null],
    ['#', null],
    ['#short', null],
    ['#<img src=x onerror=alert(1)>', null],
  ])('in %s', (hash, code) => {
    expect(codeOf(hash)).toBe(code);
  });

  it('is no longer in the address when it is taken', () => {
    const past: unknown[][] = [];
    const at = { hash: `#${CODE}`, pathname: '/house/join', search: '?x=1' };
    expect(takeCode(at, { replaceState: (...words) => past.push(words) })).toBe(CODE);
    expect(past).toEqual([[null, '', '/house/join?x=1']]);
    // What is none goes, too.
    expect(takeCode({ ...at, hash: '#x' }, { replaceState: (...words) => past.push(words) })).toBeNull();
    expect(past.length).toBe(2);
    expect(takeCode({ ...at, hash: '' }, { replaceState: (...words) => past.push(words) })).toBeNull();
    expect(past.length).toBe(2);
  });
});

describe('names', () => {
  it.each([
    ['anna', null],
    ['Nguyễn Thị Ánh', null],
    ['😀'.repeat(64), null],
    ['😀'.repeat(65), 'wrong'],
    ['', 'missing'],
    ['a:b', 'wrong'],
    ['a/b', 'wrong'],
    ['a\u0007b', 'wrong'],
    ['a\u202eb', 'wrong'],
  ])('%j', (name, fault) => {
    expect(nameFault(name)).toBe(fault);
  });
});

/** As `auth::secrets::check_password` has it. */
describe('passwords', () => {
  it.each([
    ['correct horse', 'anna', null],
    ['mật khẩu dài', 'anna', null],
    ['123456789', 'anna', 'short'],
    ['😀😃😄😁😆😅🤣😂🙂🙃', 'anna', null],
    ['x'.repeat(129), 'anna', 'long'],
    [`${'ab'.repeat(64)}`, 'anna', null],
    ['maximilian', 'Maximilian', 'name'],
    ['Maximilian123', 'maximilian', 'name'],
    ['maximilian12345', 'maximilian', null],
    ['aaaaaaaaaaaa', 'anna', 'one'],
    ['            ', 'anna', 'one'],
    ['correct horse', '', null],
  ])('%j of %s', (password, name, fault) => {
    expect(passwordFault(password, name)).toBe(fault);
  });

  it('say how much they lack', () => {
    expect(['', '123456789', '1234567890', 'x'.repeat(200)].map(lacking)).toEqual([10, 1, 0, 0]);
  });
});

describe('what is refused', () => {
  const problem = (status: number, code: string): Problem => new Problem(status, code, 'in the words of the server');

  it('is said at the field that it is about', () => {
    expect(['name-taken', 'bad-name', 'weak-password', 'link-spent', ''].map((code) => fieldOf(problem(409, code)))).toEqual(['name', 'name', 'password', null, null]);
    expect(fieldOf(new TypeError('x'))).toBeNull();
  });

  it('is said in the language of the page, else in the words of the server', () => {
    expect(sentenceOf(problem(410, 'link-spent'), en.entry)).toContain('sightline link');
    expect(sentenceOf(problem(410, 'link-spent'), vi.entry)).toBe(vi.entry.problems['link-spent']);
    expect(sentenceOf(problem(500, 'bug'), vi.entry)).toBe('in the words of the server');
    expect(sentenceOf(problem(0, ''), en.entry)).toBe(en.entry.away);
    expect(sentenceOf(new TypeError('broken'), en.entry)).toBe('broken');
  });

  it('has words in both languages', () => {
    expect(Object.keys(vi.entry.problems).sort()).toEqual(Object.keys(en.entry.problems).sort());
  });
});

it('what a share shows are cameras it names and cameras that are there', () => {
  const right = (actions: string[], streams: string[]) => ({ actions, streams });
  expect(shownBy([right(['view'], ['yard/gate', 'door'])], [])).toEqual(['door', 'yard/gate']);
  expect(shownBy([right(['view'], ['~^yard/'])], [{ name: 'yard/gate' }])).toEqual(['yard/gate']);
  expect(shownBy([right(['view'], ['all'])], [{ name: 'door' }, { name: 'door' }])).toEqual(['door']);
  expect(shownBy([right(['publish'], ['door'])], [])).toEqual([]);
});
