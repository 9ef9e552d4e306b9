/** What the server says in the page about the page, and the addresses that follow from it. */

export type View = 'dashboard' | 'watch' | 'publish' | 'first-run' | 'join' | 'shared';

export interface Config {
  readonly view: View;
  /** The stream of this page; `null` where one is chosen in it. */
  readonly name: string | null;
  /** From this page to where `api/`, `assets/` and `ws/` are. */
  readonly root: string;
  /** From there to the streams. */
  readonly streams: string;
  /** Whether there is a session to end. */
  readonly signed_in: boolean;
  /** Where the same is by TLS, which cameras and microphones of browsers need. */
  readonly https_port: number;
  /** Of one's account; not there where the server keeps none. */
  readonly preferences?: Kept;
}

/** What an account wants of the page; `null` where it said nothing. */
export interface Kept {
  readonly theme: 'dark' | 'light' | 'system' | null;
  readonly language: 'en' | 'vi' | null;
  readonly start: Start | null;
  readonly letters: boolean | null;
}

/** Which screen comes first. */
export type Start = 'control' | 'wall' | 'timeline' | 'events';

export class Places {
  readonly #root: URL;
  /** Of the page's own URL, carried on to everything that it asks for. */
  readonly token: string | null;

  constructor(
    private readonly config: Config,
    page: URL,
  ) {
    this.#root = new URL(config.root, page);
    this.#root.search = '';
    this.#root.hash = '';
    this.token = page.searchParams.get('token');
  }

  whep = (name: string): URL => this.#stream(name, 'whep');
  whip = (name: string): URL => this.#stream(name, 'whip');
  /** hls.js and media elements cannot send headers. */
  hls = (name: string): URL => this.withToken(this.#stream(name, 'index.m3u8'));
  page = (name: string): URL => this.withToken(this.#stream(name, ''));
  publish = (name: string): URL => this.withToken(this.#stream(name, 'publish'));
  home = (): URL => this.withToken(new URL(this.#root));

  /** Where all paths of the dashboard begin, with its last slash. */
  root = (): URL => new URL(this.#root);
  /** Below `/api/v1/`. */
  api = (path: string): URL => new URL(`api/v1/${path}`, this.#root);
  signOut = (): URL => new URL('sign-out', this.#root);

  /** Of the feed, from the first event after this one on. */
  live = (after: number | null): URL => {
    const url = this.withToken(this.api('live'));
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    if (after !== null) url.searchParams.set('after', String(after));
    return url;
  };

  /** This stream's publish page where browsers give cameras away. */
  securePublish(name: string): URL {
    const url = new URL(`https://${this.#root.hostname}:${this.config.https_port}/live/${path(name)}/publish`);
    return this.withToken(url);
  }

  /** Elements and sockets cannot send headers. */
  withToken(url: URL): URL {
    if (this.token !== null) url.searchParams.set('token', this.token);
    return url;
  }

  #stream(name: string, last: string): URL {
    return new URL(`${this.config.streams}${path(name)}/${last}`, this.#root);
  }
}

/** A name may hold slashes, which stay. */
function path(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/');
}

export function readConfig(document: Document): Config {
  return JSON.parse(document.getElementById('page-config')?.textContent ?? '') as Config;
}
