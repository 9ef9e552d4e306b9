/** What is another in a text, line by line, with the numbers of lines before and after. Pure. */

export interface Line {
  readonly kind: 'same' | 'gone' | 'new';
  /** From 1; `null` where it is not there. */
  readonly before: number | null;
  readonly after: number | null;
  readonly text: string;
}

/** The lines that differ, with three around each; `null` stands for those left out in between. */
export function diff(before: string, after: string, around = 3): (Line | null)[] {
  const lines = all(before.split('\n'), after.split('\n'));
  const near = (index: number): boolean => lines.slice(Math.max(0, index - around), index + around + 1).some(({ kind }) => kind !== 'same');
  const shown: (Line | null)[] = [];
  for (const [index, line] of lines.entries()) {
    if (near(index)) shown.push(line);
    else if (shown.length > 0 && shown.at(-1) !== null) shown.push(null);
  }
  if (shown.at(-1) === null) shown.pop();
  return shown;
}

function all(before: readonly string[], after: readonly string[]): Line[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < before.length - head && tail < after.length - head && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const [old, now] = [before.slice(head, before.length - tail), after.slice(head, after.length - tail)];
  const lines: Line[] = before.slice(0, head).map((text, index) => ({ kind: 'same', before: index + 1, after: index + 1, text }));
  let [at, to] = [head, head];
  for (const [kind, text] of middle(old, now)) {
    lines.push({ kind, before: kind === 'new' ? null : ++at, after: kind === 'gone' ? null : ++to, text });
  }
  for (const text of before.slice(before.length - tail)) lines.push({ kind: 'same', before: ++at, after: ++to, text });
  return lines;
}

/** By the longest common subsequence; where that would be too much to compute, all of one and then all of the other. */
function middle(old: readonly string[], now: readonly string[]): [Line['kind'], string][] {
  if (old.length * now.length > MOST) return [...old.map((text): [Line['kind'], string] => ['gone', text]), ...now.map((text): [Line['kind'], string] => ['new', text])];
  const width = now.length + 1;
  const longest = new Uint32Array((old.length + 1) * width);
  const of = (i: number, j: number): number => longest[i * width + j] ?? 0;
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      longest[i * width + j] = old[i] === now[j] ? of(i + 1, j + 1) + 1 : Math.max(of(i + 1, j), of(i, j + 1));
    }
  }
  const steps: [Line['kind'], string][] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    const [from, to] = [old[i], now[j]];
    if (from !== undefined && from === to) {
      steps.push(['same', from]);
      i++;
      j++;
    } else if (from !== undefined && (to === undefined || of(i + 1, j) >= of(i, j + 1))) {
      steps.push(['gone', from]);
      i++;
    } else {
      steps.push(['new', to ?? '']);
      j++;
    }
  }
  return steps;
}

/** Cells of the table: 8 MB. */
const MOST = 2_000_000;
