import { describe, expect, it } from 'vitest';
import { sentence } from '../src/format';

describe("a server's words", () => {
  it.each([
    ['no stream "x" is published', 'No stream "x" is published.'],
    ['come again later; there is no room.', 'Come again later; there is no room.'],
    ['  ', ''],
  ])('become a sentence: %s', (words, said) => {
    expect(sentence(words)).toBe(said);
  });
});
