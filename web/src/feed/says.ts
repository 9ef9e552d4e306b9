/** Events in words. */
import { sentence } from '../format';
import { t } from '../words';
import type { Event } from './values';

/** One sentence: what happened to what, and why where that is known. */
export function says(event: Event): string {
  const words = t.control.events[event.kind];
  const what = words ? words(event.stream ?? '') : `${event.kind}${event.stream === undefined ? '' : ` (${event.stream})`}`;
  const why = typeof event['reason'] === 'string' ? event['reason'] : '';
  return why === '' ? what : `${what}: ${sentence(why)}`;
}
