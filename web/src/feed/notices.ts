/** What the bell counts: of all that happens, what somebody should know of who was not looking. Pure. */
import type { Event } from './values';

/** Whether this is worth a notification. */
export function isNotable({ kind, ...event }: Event): boolean {
  switch (kind) {
    case 'source.changed':
      return event['state'] === 'failed';
    case 'recording.paused':
    case 'login.refused':
    case 'settings.refused':
    case 'stream.unavailable':
      return true;
    case 'export.ended':
      return event['state'] === 'failed' || event['state'] === 'done';
    default:
      return kind.startsWith('disk.');
  }
}

/** With this one, the newest first; each once, and never more than fifty. */
export function noted(before: readonly Event[], event: Event): readonly Event[] {
  if (!isNotable(event) || before.some(({ id }) => id === event.id)) return before;
  return [event, ...before].sort((a, b) => b.id - a.id).slice(0, MAX_NOTICES);
}

export const MAX_NOTICES = 50;
