/** Days and times of accounts: this year's without its year. */
import { localeNow } from '../format';

export function when(at: string | null | undefined, now = new Date()): string | null {
  if (at === null || at === undefined) return null;
  const date = new Date(at);
  const year = date.getFullYear() === now.getFullYear() ? undefined : 'numeric';
  return new Intl.DateTimeFormat(localeNow(), { day: 'numeric', month: 'short', year, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(date);
}
