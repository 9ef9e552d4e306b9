/** Figures and times as people read them, by `Intl` in the language of the page. */

let locale = 'en';
let formats = new Map<string, Intl.NumberFormat>();

/** From now on; who shows something asks again, since words are another too. */
export function setLocale(wanted: string): void {
  locale = wanted;
  formats = new Map();
  clock = undefined;
}

export function localeNow(): string {
  return locale;
}

/** With so many digits behind the point, always. */
export function number(value: number, digits = 0): string {
  let format = formats.get(String(digits));
  if (!format) {
    format = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(String(digits), format);
  }
  return format.format(value);
}

/** Of a figure that may be missing. */
export function figure(value: number | null | undefined, digits: number): string {
  return value === null || value === undefined || !Number.isFinite(value) ? '–' : number(value, digits);
}

export function milliseconds(ms: number): string {
  return `${number(ms, Math.abs(ms) < 9.95 ? 1 : 0)} ms`;
}

/** `0:07`, `1:02:03`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}`;
}

let clock: Intl.DateTimeFormat | undefined;

/** `14:02:09`, in the time zone of who looks. */
export function timeOfDay(at: Date): string {
  clock ??= new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  return clock.format(at);
}

export function bitrate(kbps: number): string {
  return kbps >= 1_000 ? `${number(kbps / 1_000, 1)} Mb/s` : `${number(kbps)} kb/s`;
}

/** What a server says of a problem, begun and ended as a sentence; nothing of nothing. */
export function sentence(words: string): string {
  const text = words.trim();
  if (text === '') return '';
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? '' : '.'}`;
}
