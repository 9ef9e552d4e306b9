/**
 * A chart over time: uPlot with our colours, holes, axis and values under the cursor. Loaded when a chart is shown.
 *
 * What this makes it also ends: the instance, its place in the shared observers, the element of values.
 */
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import './chart.css';
import { number } from '../format';
import { aligned, bounds, decimals, valueAt, type Line, type Metric, type Span } from './align';
import { onSize, onTheme, token } from './observe';

export interface Options {
  readonly series: readonly Line[];
  readonly range: Span;
  readonly metric: Metric;
  /** Neighbours that are further apart are not joined, seconds. */
  readonly holeS: number;
  /** How an instant is written under the cursor. */
  readonly time: (atMs: number) => string;
  /** And at the axis. */
  readonly tick: (atMs: number) => string;
}

export interface Chart {
  /** The same lines with other values; the instance stays. */
  update(options: Options): void;
  destroy(): void;
}

export function chart(node: HTMLElement, first: Options): Chart {
  let options = first;
  const values = tooltip(node);
  const drawn = new uPlot(plotted(node, () => options, values.show), aligned(options.series, options.holeS) as uPlot.AlignedData, node);
  const unsize = onSize(node, (width, height) => {
    if (width > 0 && height > 0) drawn.setSize({ width, height });
  });
  const untheme = onTheme(() => drawn.redraw(false));
  return {
    update: (next) => {
      options = next;
      // Not while a cursor holds it still: the values under it are being read.
      drawn.setData(aligned(next.series, next.holeS) as uPlot.AlignedData);
    },
    destroy: () => {
      untheme();
      unsize();
      values.close();
      drawn.destroy();
    },
  };
}

type Show = (at: number | null, left: number, options: Options) => void;

function plotted(node: HTMLElement, now: () => Options, show: Show): uPlot.Options {
  const { metric } = now();
  const dim = (): string => token(node, '--dim');
  const grid: uPlot.Axis.Grid = { stroke: () => token(node, '--line'), width: 1 };
  return {
    width: Math.max(MIN_PX, node.clientWidth),
    height: Math.max(MIN_PX, node.clientHeight),
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 7 }, y: false },
    scales: {
      x: { time: true, range: () => [now().range.from, now().range.to] },
      y: { range: (_, least, greatest) => bounds(least, greatest, metric) },
    },
    axes: [
      {
        stroke: dim,
        font: FONT,
        grid: { show: false },
        ticks: { show: false },
        gap: 4,
        size: 24,
        space: 70,
        values: (_, splits) => splits.map((at) => now().tick(at * 1_000)),
      },
      {
        stroke: dim,
        font: FONT,
        grid,
        ticks: { show: false },
        gap: 6,
        size: (_, labels) => 14 + 7 * Math.max(2, ...(labels ?? []).map((label) => label.length)),
        space: 34,
        // By itself it writes them as the browser likes, not as the page speaks.
        values: (_, splits, __, ___, step) => splits.map((value) => number(value, decimals(step))),
      },
    ],
    series: [{}, ...now().series.map((line, index) => lineOf(node, line.label, index))],
    hooks: {
      setCursor: [
        ({ cursor, posToVal, bbox }) => {
          const { left } = cursor;
          const inside = left !== undefined && left !== null && left >= 0;
          show(inside ? posToVal(left, 'x') : null, (left ?? 0) + bbox.left / devicePixelRatio, now());
        },
      ],
    },
  };
}

function lineOf(node: HTMLElement, label: string, index: number): uPlot.Series {
  const colour = (): string => token(node, `--series-${(index % SERIES) + 1}`);
  return {
    label,
    stroke: colour,
    // The first alone is filled: two on top of each other are mud.
    ...(index === 0 ? { fill: () => `color-mix(in srgb, ${colour()} 12%, transparent)` } : {}),
    width: 1.75,
    points: { show: false },
    spanGaps: false,
  };
}

/** What the values under the cursor are, beside it. Text alone: names come from strangers. */
function tooltip(node: HTMLElement): { show: Show; close: () => void } {
  const box = document.createElement('div');
  box.className = 'chart-values';
  box.hidden = true;
  // The table is what screen readers have.
  box.setAttribute('aria-hidden', 'true');
  node.append(box);
  const show: Show = (at, left, { series, metric, holeS, time }) => {
    box.hidden = at === null;
    if (at === null) return;
    const when = document.createElement('b');
    when.textContent = time(at * 1_000);
    const lines = series.map((line, index) => {
      const row = document.createElement('span');
      row.className = `of-${(index % SERIES) + 1}`;
      const value = valueAt(line, at, holeS);
      row.textContent = `${line.label} ${value === null ? '–' : number(value, metric.digits)} ${metric.unit}`.trim();
      return row;
    });
    box.replaceChildren(when, ...lines);
    const beyond = left + box.offsetWidth + 16 > node.clientWidth;
    box.style.left = `${Math.max(0, beyond ? left - box.offsetWidth - 12 : left + 12)}px`;
  };
  return { show, close: () => box.remove() };
}

const FONT = '11px system-ui, sans-serif';
const SERIES = 6;
const MIN_PX = 40;
