/** Moving and resizing tiles by pointer: from pixels to columns and rows. Whoever lets go, and however, ends it. */

export interface Step {
  readonly columns: number;
  readonly rows: number;
}

/**
 * Follows the pointer that went down on `event` until it is let go. `moved` is told by how many columns and rows it is away from where it began; `cell` is how large
 * one is.
 */
export function follow(event: PointerEvent, cell: { width: number; height: number }, moved: (by: Step) => void, ended: (kept: boolean) => void): void {
  if (event.button !== 0 || !(event.currentTarget instanceof HTMLElement)) return;
  event.preventDefault();
  const node = event.currentTarget;
  const { clientX, clientY, pointerId } = event;
  node.setPointerCapture(pointerId);
  let last: Step = { columns: 0, rows: 0 };
  const move = (to: PointerEvent): void => {
    if (to.pointerId !== pointerId) return;
    const by = { columns: Math.round((to.clientX - clientX) / cell.width), rows: Math.round((to.clientY - clientY) / cell.height) };
    if (by.columns === last.columns && by.rows === last.rows) return;
    last = by;
    moved(by);
  };
  const end = (over: Event): void => {
    node.removeEventListener('pointermove', move);
    node.removeEventListener('pointerup', end);
    node.removeEventListener('pointercancel', end);
    node.removeEventListener('lostpointercapture', end);
    ended(over.type === 'pointerup' || over.type === 'lostpointercapture');
  };
  node.addEventListener('pointermove', move);
  node.addEventListener('pointerup', end);
  node.addEventListener('pointercancel', end);
  node.addEventListener('lostpointercapture', end);
}

/** What an arrow does: a step, or with Shift another size. */
export function byKey(event: Pick<KeyboardEvent, 'key' | 'shiftKey'>): { x?: number; y?: number; w?: number; h?: number } | null {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!by) return null;
  const [across = 0, down = 0] = by;
  return event.shiftKey ? { w: across, h: down } : { x: across, y: down };
}
