/**
 * The keys of all screens: one table is what listens, what `?` shows and what `aria-keyshortcuts` says.
 *
 * Single letters are off while a field has the focus, while a dialog is open that did not bind them, and in one's preferences altogether
 * (WCAG 2.1.4).
 */
import { createSubscriber } from 'svelte/reactivity';

/** What to do, and what it is in words. */
export type Binding = readonly [call: (event: KeyboardEvent) => void, words: string];
/** By key: `?`, `s`, `Shift+R`, `Ctrl+a`, `ArrowLeft`, `Space`, or two after each other: `g w`. */
export type Bindings = Readonly<Record<string, Binding>>;

export interface Bound {
  readonly screen: string;
  readonly keys: Bindings;
}

/** How a key is written in the table. */
export function nameOf(event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>): string {
  const key = event.key === ' ' ? 'Space' : event.key;
  const letter = key.length === 1 && key.toLowerCase() !== key.toUpperCase();
  const parts = [
    (event.ctrlKey || event.metaKey) && 'Ctrl',
    event.altKey && 'Alt',
    // Of `?` and the like it is part of the sign.
    event.shiftKey && (letter || key.length > 1) && 'Shift',
  ].filter(Boolean);
  const name = letter ? (event.shiftKey ? key.toUpperCase() : key.toLowerCase()) : key;
  return [...parts, name].join('+');
}

/** As `aria-keyshortcuts` has it; of two keys after each other it knows nothing. */
export function ariaOf(key: string): string | undefined {
  if (key.includes(' ')) return undefined;
  return key.replace('Ctrl', 'Control');
}

/** Where one types all keys have a meaning of their own, also those with Ctrl, but for these. */
function isLeftToField(name: string): boolean {
  return name !== 'Escape' && !/^(Shift\+)?F\d+$/.test(name);
}

/** Keys that write a character, without which one may have trouble (WCAG 2.1.4); arrows and the space bar write none. */
function isCharacter(name: string): boolean {
  return /^(Shift\+)?.$/u.test(name);
}

export class Keys {
  #bound: Bound[] = [];
  /** The first of two, until it is too late for the second. */
  #first: { key: string; atMs: number } | null = null;
  #changed: (() => void) | null = null;
  #read: () => void;
  /** Whether single letters do anything. */
  letters = true;

  constructor(private readonly now: () => number = () => performance.now()) {
    this.#read = createSubscriber((update) => {
      this.#changed = update;
      return () => {
        this.#changed = null;
      };
    });
  }

  /** For as long as the answer is not called; what was bound last is asked first. */
  bind(screen: string, keys: Bindings): () => void {
    const bound = { screen, keys };
    this.#bound = [bound, ...this.#bound];
    this.#changed?.();
    return () => {
      this.#bound = this.#bound.filter((other) => other !== bound);
      this.#changed?.();
    };
  }

  /** Reactive: all that hold, for the list that `?` shows. */
  all(): readonly Bound[] {
    this.#read();
    return this.#bound;
  }

  /** Answers whether it meant something. */
  pressed(event: KeyboardEvent): boolean {
    const name = nameOf(event);
    if (isDialogOpen()) return false;
    if (isField(event.target) && isLeftToField(name)) return false;
    if (!this.letters && isCharacter(name)) return false;
    if (isButton(event.target) && /^(Space|Enter)$/.test(name)) return false;
    const before = this.#first !== null && this.now() - this.#first.atMs <= SECOND_KEY_MS ? this.#first.key : null;
    this.#first = null;
    for (const wanted of before === null ? [name] : [`${before} ${name}`, name]) {
      const found = this.#bound.map(({ keys }) => keys[wanted]).find((binding) => binding !== undefined);
      if (!found) continue;
      event.preventDefault();
      found[0](event);
      return true;
    }
    const begins = this.#bound.some(({ keys }) => Object.keys(keys).some((key) => key.startsWith(`${name} `)));
    if (begins) this.#first = { key: name, atMs: this.now() };
    return begins;
  }
}

function isField(target: EventTarget | null): boolean {
  return isIn(target, 'input, textarea, select, [contenteditable]');
}

/** Space and Enter press what has the focus. */
function isButton(target: EventTarget | null): boolean {
  return isIn(target, 'button, a[href], summary, [role=button]');
}

/** What is behind a dialog hears nothing. */
function isDialogOpen(): boolean {
  return typeof document !== 'undefined' && document.querySelector('dialog:modal') !== null;
}

function isIn(target: EventTarget | null, selector: string): boolean {
  return target !== null && 'closest' in target && (target as Element).closest(selector) !== null;
}

const SECOND_KEY_MS = 1_500;

/** Of this page. */
export const keys = new Keys();
export const bind = (screen: string, bindings: Bindings): (() => void) => keys.bind(screen, bindings);
