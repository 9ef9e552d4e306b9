/** Figures and times as people read them. */

export function milliseconds(ms: number): string {
  return `${Math.abs(ms) < 9.95 ? ms.toFixed(1) : Math.round(ms).toLocaleString('en')} ms`;
}

export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}`;
}

export function timeOfDay(at: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function bitrate(kbps: number): string {
  return kbps >= 1_000 ? `${(kbps / 1_000).toFixed(1)} Mb/s` : `${Math.round(kbps)} kb/s`;
}

/** What a server says of a problem, begun and ended as a sentence; nothing of nothing. */
export function sentence(words: string): string {
  const text = words.trim();
  if (text === '') return '';
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? '' : '.'}`;
}

/** Of a figure that may be missing. */
export function figure(value: number | null | undefined, digits: number): string {
  return value === null || value === undefined ? '–' : value.toFixed(digits);
}
