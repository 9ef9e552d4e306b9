/** What of the browser all charts share: one observer of sizes, one of what is on the screen, one of the theme. */

const sizes = new Map<Element, (width: number, height: number) => void>();
let sizing: ResizeObserver | null = null;

/** Calls with the size of the content of an element, at once and whenever it changes. Answers how to end that. */
export function onSize(node: Element, call: (width: number, height: number) => void): () => void {
  sizing ??= new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) sizes.get(target)?.(contentRect.width, contentRect.height);
  });
  sizes.set(node, call);
  sizing.observe(node);
  return () => {
    sizes.delete(node);
    sizing?.unobserve(node);
  };
}

const sights = new Map<Element, (seen: boolean) => void>();
let seeing: IntersectionObserver | null = null;

/** Calls when an element comes onto the screen, and when it leaves it. Answers how to end that. */
export function onSight(node: Element, call: (seen: boolean) => void): () => void {
  seeing ??= new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) sights.get(target)?.(isIntersecting);
  });
  sights.set(node, call);
  seeing.observe(node);
  return () => {
    sights.delete(node);
    seeing?.unobserve(node);
  };
}

const themed = new Set<() => void>();
let watching: (() => void) | null = null;

/** Calls when colours are others. Answers how to end that. */
export function onTheme(call: () => void): () => void {
  themed.add(call);
  watching ??= watchTheme();
  return () => {
    themed.delete(call);
    if (themed.size > 0) return;
    watching?.();
    watching = null;
  };
}

function watchTheme(): () => void {
  const tell = (): void => themed.forEach((call) => call());
  const light = matchMedia('(prefers-color-scheme: light)');
  const chosen = new MutationObserver(tell);
  light.addEventListener('change', tell);
  chosen.observe(document.documentElement, { attributeFilter: ['data-theme'] });
  return () => {
    light.removeEventListener('change', tell);
    chosen.disconnect();
  };
}

/** A colour of `app.css`, as it is for this element now. */
export function token(node: Element, name: string): string {
  return getComputedStyle(node).getPropertyValue(name).trim() || FALLBACK;
}

const FALLBACK = '#888';
