/**
 * How this page looks and is used: as the server keeps it for an account, and else on this device. Only values that are known are taken from the storage.
 */
import type { Api } from './api';
import type { Kept, Start } from './config';
import { browserKept } from './kept';
import { keys } from './keys';
import { LANGUAGES, languageOf, speak, type Language } from './words';

export type Theme = 'dark' | 'light' | 'system';
export const THEMES: readonly Theme[] = ['dark', 'light', 'system'];
export const STARTS: readonly Start[] = ['control', 'wall', 'timeline', 'events'];

class Preferences {
  theme = $state<Theme>(known('theme', THEMES) ?? 'dark');
  language = $state<Language>(known('language', Object.keys(LANGUAGES) as Language[]) ?? languageOf(navigator.languages));
  /** Whether keys of one letter do something. */
  letters = $state(stored('letters') !== 'off');
  /** What opens at the root of the page. */
  start = $state<Start>(known('start', STARTS) ?? 'control');
  /** Whether the server keeps them. */
  kept = $state(false);
  /** It did not, the last time. */
  failed = $state(false);
  #api: Api | null = null;
  #last: Promise<void> = Promise.resolve();

  /** Once, before anything is shown. */
  apply(own?: Kept, api?: Api): Promise<void> {
    if (own && api) {
      this.kept = true;
      this.#api = api;
      this.theme = own.theme ?? this.theme;
      this.language = own.language ?? this.language;
      this.start = own.start ?? this.start;
      this.letters = own.letters ?? this.letters;
    }
    this.#look();
    light.addEventListener('change', () => this.#look());
    keys.letters = this.letters;
    return this.language === 'en' ? Promise.resolve() : speak(this.language);
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    keep('theme', theme);
    this.#look();
    this.#keep({ theme });
  }

  setLanguage(language: Language): void {
    this.language = language;
    keep('language', language);
    void speak(language);
    this.#keep({ language });
  }

  setLetters(on: boolean): void {
    this.letters = on;
    keys.letters = on;
    keep('letters', on ? 'on' : 'off');
    this.#keep({ letters: on });
  }

  setStart(start: Start): void {
    this.start = start;
    keep('start', start);
    this.#keep({ start });
  }

  /** One after the other, and beside what else is kept there: nothing of it is lost. */
  #keep(changed: Partial<Kept>): void {
    const api = this.#api;
    if (api === null) return;
    this.#last = this.#last.then(async () => {
      try {
        const all = await api.get<Record<string, unknown>>('me/preferences');
        await api.send('PUT', 'me/preferences', { ...all, ...changed });
        this.failed = false;
      } catch {
        this.failed = true;
      }
    });
  }

  #look(): void {
    const now = this.theme === 'system' ? (light.matches ? 'light' : 'dark') : this.theme;
    document.documentElement.dataset['theme'] = now;
    document.querySelector('meta[name="theme-color"]')?.setAttribute('content', now === 'light' ? '#f3f5f7' : '#0b0d10');
  }
}

const light = matchMedia('(prefers-color-scheme: light)');

export function stored(name: string): string | null {
  return browserKept.getItem(`sightline.${name}`);
}

export function keep(name: string, value: string): void {
  try {
    browserKept.setItem(`sightline.${name}`, value);
  } catch {
    // It holds until the page is left.
  }
}

function known<T extends string>(name: string, values: readonly T[]): T | null {
  const value = stored(name);
  return values.find((one) => one === value) ?? null;
}

export const preferences = new Preferences();
