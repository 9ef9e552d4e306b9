import { describe, expect, it } from 'vitest';
import { Api } from '../src/api';
import { happened, recordings } from '../src/shell/past';
import { Zone } from '../src/timeline/zone';

const zone = new Zone('Europe/Berlin');
const NOW = Date.parse('2026-11-23T14:00:00Z');
const days = { today: 'today', yesterday: 'yesterday' };

describe('the past in the search field', () => {
  it('leads to an instant, of the cameras that are named', () => {
    const found = (query: string) => recordings(query, ['front door', 'yard', 'door'], NOW, zone, days).map(({ name, path }) => [name, path]);
    expect(found('22/11 14:00')).toEqual([['Nov 22, 2026, 2:00:00 PM', '/timeline?at=1795352400000']]);
    expect(found('22/11')).toEqual([['Nov 22, 2026', '/timeline?at=1795302000000']]);
    expect(found('door 22/11').map(([, path]) => path)).toEqual(['/timeline?at=1795302000000&camera=door', '/timeline?at=1795302000000&camera=front%20door']);
    expect(found('cellar 22/11')).toEqual([]);
    expect(found('door')).toEqual([]);
  });

  it('is what the server says that happened', async () => {
    const asked: string[] = [];
    const api = {
      get: (path: string, query: { q: string }) => {
        asked.push(`${path} ${query.q}`);
        const event = { id: 1, camera: 'a/b', kind: 'bell', start: '2026-11-22T13:00:00Z', end: '2026-11-22T13:00:01Z', score: null, data: null };
        return Promise.resolve({ cameras: [], events: [event, { ...event, kind: 'owl' }] });
      },
    } as unknown as Api;
    const found = await happened('bell', api, zone, { bell: 'Doorbell' }, new AbortController().signal);
    expect(asked).toEqual(['search bell']);
    expect(found.map(({ name }) => name)).toEqual(['Doorbell · a/b · Nov 22, 2026, 2:00:00 PM', 'owl · a/b · Nov 22, 2026, 2:00:00 PM']);
    expect(found[0]?.path).toBe('/timeline?at=1795352400000&camera=a%2Fb');
  });
});
