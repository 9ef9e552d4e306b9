/** What somebody typed as the address of a camera, and names for it. Pure. */

export interface Address {
  /** Without a login. */
  readonly source: string;
  readonly user: string;
  readonly password: string;
  /** Of the machine that the server runs on: nobody is logged in to. */
  readonly device: boolean;
}

const DEVICE = /^(v4l2:|libcamera(:|$)|test(:|$))/;
const SCHEME = /^(rtsps?|wheps?|onvifs?|https?):\/\//i;
const LONGEST = 2_000;

/** `null`: it is no address of a camera. What has no scheme is asked by ONVIF, or by RTSP where it names a path or one of its ports. */
export function addressOf(text: string): Address | null {
  const typed = text.trim();
  if (typed === '' || typed.length > LONGEST || /\s/.test(typed)) return null;
  if (DEVICE.test(typed)) return { source: typed, user: '', password: '', device: true };
  const bare = !typed.includes('://');
  const source = bare ? `${/[/]|:(554|8554)$/.test(typed) ? 'rtsp' : 'onvif'}://${typed}` : typed;
  const scheme = SCHEME.exec(source)?.[0];
  if (scheme === undefined) return null;
  const { login, rest } = split(source.slice(scheme.length));
  const place = rest.includes('/') ? rest : `${rest}/`;
  const [authority = ''] = place.split('/');
  if (!/^(\[[0-9a-f:.]+\]|[^:[\]@]+)(:\d{1,5})?$/i.test(authority)) return null;
  const colon = login.indexOf(':');
  return {
    source: `${scheme.toLowerCase()}${place}`,
    user: decoded(colon < 0 ? login : login.slice(0, colon)),
    password: colon < 0 ? '' : decoded(login.slice(colon + 1)),
    device: false,
  };
}

/** The last `@` in front of the path ends a login, since passwords are pasted as they are. */
function split(rest: string): { login: string; rest: string } {
  const slash = rest.search(/[/?]/);
  const at = rest.lastIndexOf('@', slash < 0 ? rest.length : slash);
  return at < 0 ? { login: '', rest } : { login: rest.slice(0, at), rest: rest.slice(at + 1) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Scheme, host and port, as a login is kept for them; `null` of a device. */
export function originOf(source: string): { scheme: string; host: string; port: number } | null {
  const scheme = SCHEME.exec(source)?.[1]?.toLowerCase();
  if (scheme === undefined) return null;
  let url: URL;
  try {
    url = new URL(source.replace(SCHEME, 'http://'));
  } catch {
    return null;
  }
  // A port that is the usual one of HTTP is left out by URLs of HTTP.
  const written = /:(\d+)$/.exec(source.slice(scheme.length + 3).split(/[/?]/)[0] ?? '')?.[1];
  return { scheme, host: url.hostname.replace(/^\[|\]$/g, '').toLowerCase(), port: written === undefined ? USUAL[scheme] ?? 0 : Number(written) };
}

const USUAL: Readonly<Record<string, number>> = { rtsp: 554, rtsps: 322, whep: 80, wheps: 443, onvif: 80, onvifs: 443, http: 80, https: 443 };
const RESERVED_FIRST = ['api', 'ws', 'metrics', 'healthz', 'assets', 'live'];
const RESERVED_LAST = ['whep', 'whip', 'publish', 'mjpeg', 'index.m3u8', 'snapshot.jpg'];
const LONGEST_NAME = 200;

/** The server's rule of names. */
export function nameFault(name: string, taken: readonly string[]): 'missing' | 'characters' | 'reserved' | 'taken' | null {
  if (name === '') return 'missing';
  const parts = name.split('/');
  // A table of that name is an expression.
  if (name.startsWith('~')) return 'characters';
  if (name.length > LONGEST_NAME || !parts.every((part) => /^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$/.test(part))) return 'characters';
  if (RESERVED_FIRST.includes(parts[0] ?? '') || RESERVED_LAST.includes(parts.at(-1) ?? '')) return 'reserved';
  return taken.includes(name) ? 'taken' : null;
}

/** A free name, of what the camera calls itself or else of where it is. */
export function nameFor(called: string | null, source: string, taken: readonly string[]): string {
  const ascii = (called ?? '').normalize('NFD').replace(/\p{M}/gu, '').replace(/đ/gi, 'd');
  const slug = ascii.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 40);
  const host = originOf(source)?.host ?? '';
  const numbers = /^\d+\.\d+\.\d+\.(\d+)$/.exec(host)?.[1];
  const base = slug || (numbers === undefined ? (host.split('.')[0] ?? '').replace(/[^a-z0-9-]/g, '') : `camera-${numbers}`) || 'camera';
  let name = base;
  for (let number = 2; nameFault(name, taken) !== null; number++) name = `${base}-${number}`;
  return name;
}
