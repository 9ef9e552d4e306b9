/** Events and what is wrong, in words. */
import { sentence } from '../format';
import { t } from '../words';
import type { Event, Reason } from './values';

/** One sentence: what happened to what, and why where that is known. */
export function says(event: Event): string {
  const words = t.control.events[event.kind];
  const what = words ? words(event.stream ?? '') : `${event.kind}${event.stream === undefined ? '' : ` (${event.stream})`}`;
  const why = typeof event['reason'] === 'string' ? event['reason'] : '';
  return why === '' ? what : `${what}: ${sentence(why)}`;
}

/** Why something is not as it should be: in the server's words, unless the page's language has its own. */
export function wrongIs({ code, text }: Pick<Reason, 'code' | 'text'>): string {
  return t.shell.reasons[code]?.(text) ?? text;
}
