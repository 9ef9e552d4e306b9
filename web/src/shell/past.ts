/**
 * What the search field finds in the past: recordings at an instant that was typed, and what happened, which the server is asked for. Loaded when
 * somebody searches.
 */
import type { Api } from '../api';
import type { SearchAnswer } from '../api.types';
import { localeNow } from '../format';
import { Zone } from '../timeline/zone';
import { find, type Found } from './find';
import { moment, type Days } from './moments';

/** Recordings at the instant in this query, of each camera that its other words mean. */
export function recordings(query: string, cameras: readonly string[], now: number, zone: Zone, days: Days): Found[] {
  const meant = moment(query, now, zone, days);
  if (meant === null) return [];
  const name = shown(meant.at, zone, meant.wholeDay);
  if (meant.rest === '') return [{ kind: 'recording', name, path: `/timeline?at=${meant.at}` }];
  const of = find(meant.rest, cameras.map((camera) => ({ kind: 'camera', name: camera, path: camera })));
  return of.map(({ name: camera }) => ({
    kind: 'recording',
    name: `${camera} · ${name}`,
    path: `/timeline?at=${meant.at}&camera=${encodeURIComponent(camera)}`,
  }));
}

/** What happened, newest first. A question that is overtaken by the next is ended by its signal. */
export async function happened(query: string, api: Api, zone: Zone, kinds: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Found[]> {
  const { events } = await api.get<SearchAnswer>('search', { q: query }, signal);
  return events.map(({ camera, kind, start }) => {
    const at = Date.parse(start);
    return { kind: 'event', name: `${kinds[kind] ?? kind} · ${camera} · ${shown(at, zone, false)}`, path: `/timeline?at=${at}&camera=${encodeURIComponent(camera)}` };
  });
}

function shown(at: number, zone: Zone, wholeDay: boolean): string {
  const how: Intl.DateTimeFormatOptions = { dateStyle: 'medium', timeZone: zone.name };
  if (!wholeDay) how.timeStyle = 'medium';
  return new Intl.DateTimeFormat(localeNow(), how).format(at);
}

export const zoneHere = (): Zone => Zone.here();
