/**
 * What a name and a password have to be, as the server has it (`auth::people::change`, `auth::secrets`), so that it is said before it is refused;
 * and what to say of what the server refuses. Pure.
 */
import { Problem, wordsOf } from '../api';
import type { Right } from '../api.types';
import type { Words } from '../words';

/** Characters. */
export const NAME_MOST = 64;
export const PASSWORD = { least: 10, most: 128 } as const;

export type NameFault = 'missing' | 'wrong';
export type PasswordFault = 'short' | 'long' | 'name' | 'one';

/** Of a name without space at its ends. */
export function nameFault(name: string): NameFault | null {
  if (name === '') return 'missing';
  return [...name].length > NAME_MOST || /[\p{Cc}:/\u200b-\u200f\u202a-\u202e]/u.test(name) ? 'wrong' : null;
}

/** That it is one which everybody tries, only the server knows: the list of them is not sent around. */
export function passwordFault(password: string, name: string): PasswordFault | null {
  const count = [...password].length;
  if (count > PASSWORD.most) return 'long';
  if (count < PASSWORD.least) return 'short';
  const [plain, called] = [password, name].map((text) => text.trim().toLowerCase()) as [string, string];
  if (called !== '' && plain.includes(called) && [...plain.replace(called, '')].length <= 4) return 'name';
  return new Set(plain).size <= 1 ? 'one' : null;
}

/** How many characters a password lacks. */
export function lacking(password: string): number {
  return Math.max(0, PASSWORD.least - [...password].length);
}

/** The field that a refusal is about; `null`: the form as a whole. */
export function fieldOf(failure: unknown): 'name' | 'password' | null {
  if (!(failure instanceof Problem)) return null;
  if (failure.code === 'name-taken' || failure.code === 'bad-name') return 'name';
  return failure.code === 'weak-password' ? 'password' : null;
}

/** The cause and the way out, in the language of the page; in the server's words where it has none. */
export function sentenceOf(failure: unknown, words: Words['entry']): string {
  if (!(failure instanceof Problem)) return wordsOf(failure);
  if (failure.status === 0) return words.away;
  return words.problems[failure.code] ?? failure.message;
}

/** The cameras that a share shows: those it names, and those that are there. Rights may be given by an expression, which names none. */
export function shownBy(rights: readonly Right[], there: readonly { readonly name: string }[]): string[] {
  const named = rights.filter(({ actions }) => actions.includes('view')).flatMap(({ streams }) => streams);
  const names = named.filter((name) => name !== 'all' && !name.startsWith('~'));
  return [...new Set([...names, ...there.map(({ name }) => name)])].sort();
}
