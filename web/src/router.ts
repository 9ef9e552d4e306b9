/**
 * Which screen the URL means, and going to another without loading the page anew.
 *
 * Paths are below the page's `root`, wherever a proxy has put it. What is no screen of ours (pages of streams, the API) is left to the browser.
 */
import { createSubscriber } from 'svelte/reactivity';

export interface Here<Name extends string = string> {
  /** `null`: no screen is there. */
  readonly screen: Name | null;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Below the root, with its first slash. */
  readonly path: string;
}

/** A screen as the router sees it: `/wall/{layout}`. */
export interface Pattern<Name extends string = string> {
  readonly name: Name;
  readonly paths: readonly string[];
}

/** Which of them a path means; `null` where it is none of ours. */
export function match<Name extends string>(screens: readonly Pattern<Name>[], path: string): { screen: Name; params: Record<string, string> } | null {
  const parts = path.split('/').filter(Boolean);
  for (const screen of screens) {
    for (const pattern of screen.paths) {
      const params = paramsOf(pattern.split('/').filter(Boolean), parts);
      if (params) return { screen: screen.name, params };
    }
  }
  return null;
}

function paramsOf(pattern: readonly string[], parts: readonly string[]): Record<string, string> | null {
  const params: Record<string, string> = {};
  for (const [index, wanted] of pattern.entries()) {
    if (wanted.startsWith('{*')) {
      params[wanted.slice(2, -1)] = parts.slice(index).map(decoded).join('/');
      return params;
    }
    const part = parts[index];
    if (part === undefined) return null;
    if (wanted.startsWith('{')) params[wanted.slice(1, -1)] = decoded(part);
    else if (wanted !== part) return null;
  }
  return parts.length === pattern.length ? params : null;
}

/** What strangers write into paths need not be well-formed. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** What of the browser is used. */
export interface Browser {
  url(): URL;
  push(url: URL): void;
  replace(url: URL): void;
  onpop(call: () => void): () => void;
}

export class Router<Name extends string = string> {
  #here: Here<Name>;
  #changed: (() => void) | null = null;
  #read: () => void;

  constructor(
    private readonly root: URL,
    private readonly screens: readonly Pattern<Name>[],
    private readonly browser: Browser,
    /** Of the page's own URL, carried on. */
    private readonly token: string | null,
  ) {
    this.#here = this.#where(browser.url());
    this.#read = createSubscriber((update) => {
      this.#changed = update;
      const end = browser.onpop(() => this.#arrive());
      // Nobody listened until now.
      this.#here = this.#where(browser.url());
      return () => {
        end();
        this.#changed = null;
      };
    });
  }

  /** Reactive. */
  here(): Here<Name> {
    this.#read();
    return this.#here;
  }

  /** For links: what `go` would make of it. */
  href(path: string): string {
    return this.#url(path).href;
  }

  /** `path` is below the root: `/timeline?camera=door`. */
  go(path: string, { replace = false }: { replace?: boolean } = {}): void {
    const url = this.#url(path);
    const same = url.href === this.browser.url().href;
    if (replace || same) this.browser.replace(url);
    else this.browser.push(url);
    this.#arrive();
  }

  /** Goes there if it is a screen of ours; answers whether it is. */
  follow(url: URL): boolean {
    const where = this.#where(url);
    if (where.screen === null) return false;
    this.go(`${where.path}${url.search}${url.hash}`);
    return true;
  }

  #arrive(): void {
    this.#here = this.#where(this.browser.url());
    this.#changed?.();
  }

  #url(path: string): URL {
    const url = new URL(path.replace(/^\/+/, ''), this.root);
    if (this.token !== null) url.searchParams.set('token', this.token);
    return url;
  }

  #where(url: URL): Here<Name> {
    const below = url.origin === this.root.origin && url.pathname.startsWith(this.root.pathname);
    const path = below ? `/${url.pathname.slice(this.root.pathname.length)}` : url.pathname;
    const found = below ? match(this.screens, path) : null;
    return { screen: found?.screen ?? null, params: found?.params ?? {}, query: url.searchParams, path };
  }
}

/** The real one. */
export const browser: Browser = {
  url: () => new URL(location.href),
  push: (url) => history.pushState(null, '', url),
  replace: (url) => history.replaceState(null, '', url),
  onpop: (call) => {
    window.addEventListener('popstate', call);
    return () => window.removeEventListener('popstate', call);
  },
};

let router: Router | null = null;

/** Before anything else of here; once a page. */
export function begin(made: Router): void {
  router = made;
}

export function go(path: string, options?: { replace?: boolean }): void {
  router?.go(path, options);
}

export function here(): Here {
  return router?.here() ?? { screen: null, params: {}, query: new URLSearchParams(), path: '/' };
}

export function href(path: string): string {
  return router?.href(path) ?? path;
}

/** Goes there if it is a screen of ours; answers whether it is. */
export function follow(url: URL): boolean {
  return router?.follow(url) ?? false;
}
