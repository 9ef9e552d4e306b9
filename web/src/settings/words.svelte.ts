/** The words of these screens, which come with them and not with the page: in English at once, in another language as soon as they are loaded. */
import { languageNow } from '../words';
import { settings as en } from '../words/en/settings';

export type Words = typeof en;

let vietnamese = $state.raw<Words | null>(null);

/** Reactive; `null` while they are on their way. */
export function words(): Words | null {
  if (languageNow() !== 'vi') return en;
  if (vietnamese === null) {
    import('../words/vi/settings').then(
      (module) => (vietnamese = module.settings),
      () => (vietnamese = en),
    );
  }
  return vietnamese;
}

/** Reactive; for what is shown when they are there. */
export function w(): Words {
  return words() ?? en;
}
