/** A bar of the timeline on a canvas: what is recorded, how much moved, what happened. Nothing but drawing. */
import type { Axis } from './axis';
import type { Motion, Range, Recorded } from './recordings';

export interface Bar {
  readonly ranges: readonly Range[];
  readonly motion: readonly Motion[];
  readonly events: readonly Recorded[];
  /** Until when nothing is known yet: those windows are being asked for. */
  readonly unknown: readonly { readonly from: number; readonly to: number }[];
}

export interface Colours {
  readonly recorded: string;
  readonly archived: string;
  readonly motion: string;
  readonly event: string;
  readonly unknown: string;
}

/** `height` in pixels of the page; `scale`: how many of the screen those are. */
export function draw(context: CanvasRenderingContext2D, axis: Axis, bar: Bar, colours: Colours, height: number, scale: number): void {
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, axis.width, height);
  context.fillStyle = colours.unknown;
  for (const { from, to } of bar.unknown) block(context, axis, from, to, TOP, height - TOP);
  // What is here lies over what is archived.
  for (const archived of [true, false]) {
    context.fillStyle = archived ? colours.archived : colours.recorded;
    for (const range of bar.ranges) if (range.archived === archived) block(context, axis, range.from, range.to, TOP, height - TOP);
  }
  drawMotion(context, axis, bar.motion, colours.motion, height);
  drawEvents(context, axis, bar.events, colours.event);
}

function block(context: CanvasRenderingContext2D, axis: Axis, from: number, to: number, top: number, height: number): void {
  // Whole pixels: two that touch, as the parts of two windows do, show no seam.
  const left = Math.floor(Math.max(0, axis.toX(from)));
  const right = Math.ceil(Math.min(axis.width, axis.toX(to)));
  // A second in a month is still there.
  if (right > 0 && left < axis.width && right >= left) context.fillRect(left, top, Math.max(1, right - left), height);
}

function drawMotion(context: CanvasRenderingContext2D, axis: Axis, motions: readonly Motion[], colour: string, height: number): void {
  context.fillStyle = colour;
  const room = height - TOP - 2;
  for (const { from, stepMs, values } of motions) {
    const width = Math.max(1, axis.toX(from + stepMs) - axis.toX(from));
    const first = Math.max(0, Math.floor((axis.span.from - from) / stepMs));
    const last = Math.min(values.length, Math.ceil((axis.span.to - from) / stepMs));
    for (let index = first; index < last; index++) {
      const value = values[index] ?? 0;
      if (value === 0) continue;
      const tall = Math.max(2, (value / 255) * room);
      context.fillRect(axis.toX(from + index * stepMs), height - tall, width, tall);
    }
  }
}

/** Above the bar, as marks: where they would lie on each other only the first. */
function drawEvents(context: CanvasRenderingContext2D, axis: Axis, events: readonly Recorded[], colour: string): void {
  context.fillStyle = colour;
  let free = Number.NEGATIVE_INFINITY;
  for (const { from, to } of events) {
    const left = axis.toX(from);
    const right = Math.max(left + 3, axis.toX(to));
    if (right <= free || right < 0 || left > axis.width) continue;
    const begins = Math.max(left, free, 0);
    context.fillRect(begins, 0, Math.max(2, right - begins), MARK);
    free = right + 1;
  }
}

const MARK = 4;
/** Where the bar begins, below the marks. */
const TOP = 6;
