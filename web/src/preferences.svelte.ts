/** How this page looks and is used, on this device, as long as the server keeps no preferences. Only values that are known are taken from the storage. */
import { browserKept } from './kept';
import { keys } from './keys';
import { LANGUAGES, languageOf, speak, type Language } from './words';

export type Theme = 'dark' | 'light' | 'system';
export const THEMES: readonly Theme[] = ['dark', 'light', 'system'];

class Preferences {
  theme = $state<Theme>(known('theme', THEMES) ?? 'dark');
  language = $state<Language>(known('language', Object.keys(LANGUAGES) as Language[]) ?? languageOf(navigator.languages));
  /** Whether keys of one letter do something. */
  letters = $state(stored('letters') !== 'off');

  /** Once, before anything is shown. */
  apply(): Promise<void> {
    this.#look();
    light.addEventListener('change', () => this.#look());
    keys.letters = this.letters;
    return this.language === 'en' ? Promise.resolve() : speak(this.language);
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    keep('theme', theme);
    this.#look();
  }

  setLanguage(language: Language): void {
    this.language = language;
    keep('language', language);
    void speak(language);
  }

  setLetters(on: boolean): void {
    this.letters = on;
    keys.letters = on;
    keep('letters', on ? 'on' : 'off');
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
