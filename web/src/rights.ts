/** What one may do by the rights that the server told. It decides all the same: this says what is offered. Functions of their arguments. */
import type { Action, Me } from './feed/values';

/** Whether one may do this to a stream of which nothing but its name is known, such as a camera that has recordings and is away. */
export function mayTo(rights: Me['rights'], action: Action, stream: string): boolean {
  // What an expression covers only the server knows.
  return rights.some(({ actions, streams }) => actions.includes(action) && streams.some((of) => of === 'all' || of === stream || of.startsWith('~')));
}
