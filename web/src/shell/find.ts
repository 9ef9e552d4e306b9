/** What the search field finds in what the page knows: cameras and screens. What happened and what was recorded is beside it. Pure. */

export interface Found {
  readonly kind: 'camera' | 'screen' | 'recording' | 'event';
  readonly name: string;
  /** Below the root. */
  readonly path: string;
}

/** Those of which each word of the query is a part, without regard to case and accents; names that begin with it first. */
export function find(query: string, all: readonly Found[]): readonly Found[] {
  const words = plain(query.slice(0, MAX_CHARACTERS)).split(/\s+/).filter(Boolean);
  const ranked = all
    .map((found, order) => ({ found, order, name: plain(found.name) }))
    .filter(({ name }) => words.every((word) => name.includes(word)))
    .map((one) => ({ ...one, rank: words.length > 0 && one.name.startsWith(words[0] ?? '') ? 0 : 1 }));
  ranked.sort((a, b) => a.rank - b.rank || a.order - b.order);
  return ranked.slice(0, MAX_FOUND).map(({ found }) => found);
}

function plain(text: string): string {
  return text.toLowerCase().normalize('NFD').replace(/\p{Diacritic}/gu, '').replaceAll('đ', 'd');
}

const MAX_CHARACTERS = 64;
export const MAX_FOUND = 20;
