import { expect, it } from 'vitest';
import type { Me } from '../src/feed/values';
import { mayTo } from '../src/rights';

const RIGHTS: Me['rights'] = [
  { actions: ['view', 'replay'], streams: ['all'] },
  { actions: ['operate'], streams: ['door', 'attic'] },
  { actions: ['erase'], streams: ['~^house/'] },
];

it.each([
  ['replay', 'gone', true],
  ['operate', 'door', true],
  ['operate', 'doors', false],
  // The server decides.
  ['erase', 'house/door', true],
  ['administer', 'door', false],
] as const)('whether one may %s %s is %s', (action, stream, may) => {
  expect(mayTo(RIGHTS, action, stream)).toBe(may);
});

it('who has no rights may nothing', () => {
  expect(mayTo([], 'view', 'door')).toBe(false);
});
