import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const css = readFileSync(new URL('../src/app.css', import.meta.url), 'utf8');

function block(selector: string): Map<string, string> {
  const begin = css.indexOf(`${selector} {`);
  const text = css.slice(begin, css.indexOf('}', begin));
  return new Map([...text.matchAll(/--([\w-]+):\s*(#[0-9a-f]{3,6});/g)].map(([, name, value]) => [name ?? '', value ?? '']));
}

const themes = { dark: block(':root'), light: block(":root[data-theme='light']") };

function luminance(hex: string): number {
  const long = hex.length === 4 ? [...hex.slice(1)].map((digit) => digit + digit).join('') : hex.slice(1);
  const [red = 0, green = 0, blue = 0] = [0, 2, 4].map((at) => {
    const part = Number.parseInt(long.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** WCAG 2.2, "contrast ratio". */
function contrast(one: string, other: string): number {
  const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

const GROUNDS = ['bg', 'panel', 'panel-2'];
/** What is read: 4.5. */
const TEXT = ['text', 'dim', 'accent', 'live', 'warn', 'bad', 'motion'];
/** Signs, lines of charts, edges of what can be pressed, and the focus: 3. */
const SIGNS = ['edge', 'focus', 'series-1', 'series-2', 'series-3', 'series-4', 'series-5', 'series-6'];

describe.each(Object.entries(themes))('%s', (_, theme) => {
  const of = (name: string): string => theme.get(name) ?? expect.fail(`--${name} is missing`);

  it('has every colour', () => {
    expect([...theme.keys()].sort()).toEqual([...themes.dark.keys()].sort());
  });

  it.each(TEXT.flatMap((text) => GROUNDS.map((ground) => [text, ground])))('%s can be read on %s', (text, ground) => {
    expect(contrast(of(text), of(ground))).toBeGreaterThanOrEqual(4.5);
  });

  it.each(SIGNS.flatMap((sign) => GROUNDS.map((ground) => [sign, ground])))('%s can be seen on %s', (sign, ground) => {
    expect(contrast(of(sign), of(ground))).toBeGreaterThanOrEqual(3);
  });

  it.each([
    ['on-accent', 'accent'],
    ['bg', 'warn'],
    ['bg', 'bad'],
  ])('%s can be read on %s', (text, ground) => {
    expect(contrast(of(text), of(ground))).toBeGreaterThanOrEqual(4.5);
  });
});

it('knows the contrast of black on white', () => {
  expect(contrast('#000', '#ffffff')).toBeCloseTo(21, 5);
});
