/**
 * What the page says, in the language of who looks at it.
 *
 * Texts are members of objects, so that a missing one does not compile; another language is a folder and a line here. English is with the page,
 * others are loaded when they are wanted.
 */
import { createSubscriber } from 'svelte/reactivity';
import { setLocale } from '../format';
import { en } from './en';

export type Words = typeof en;
export type Language = keyof typeof LANGUAGES;

/** As they call themselves. */
export const LANGUAGES = { en: 'English', vi: 'Tiếng Việt' } as const;

const LOAD: Record<Exclude<Language, 'en'>, () => Promise<Words>> = {
  vi: () => import('./vi').then((module) => module.vi),
};

let words: Words = en;
let language: Language = 'en';
let changed: (() => void) | null = null;
const read = createSubscriber((update) => {
  changed = update;
  return () => {
    changed = null;
  };
});

/** `t.wall.offlineSince(at)`. Reactive; sections are read when they are asked for, never kept. */
export const t: Words = new Proxy(en, {
  get: (_, section) => {
    read();
    return words[section as keyof Words];
  },
});

/** Reactive. */
export function languageNow(): Language {
  read();
  return language;
}

/** The first of these that we have, else English: `vi-VN` is `vi`. */
export function languageOf(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const [base] = tag.toLowerCase().split('-');
    if (base !== undefined && Object.hasOwn(LANGUAGES, base)) return base as Language;
  }
  return 'en';
}

/** Stays with what there is where the words cannot be loaded. */
export async function speak(wanted: Language): Promise<void> {
  const next = wanted === 'en' ? en : await LOAD[wanted]().catch(() => null);
  if (next === null) return;
  words = next;
  language = wanted;
  setLocale(wanted);
  if (typeof document !== 'undefined') document.documentElement.lang = wanted;
  changed?.();
}
