import { describe, expect, it } from 'vitest';
import { moment } from '../src/shell/moments';
import { Zone } from '../src/timeline/zone';

const days = { today: 'today', yesterday: 'yesterday' };
/** Monday, 15:00 in Berlin. */
const NOW = Date.parse('2026-11-23T14:00:00Z');

describe('moments that are typed', () => {
  const berlin = new Zone('Europe/Berlin');
  const said = (query: string, now = NOW) => {
    const found = moment(query, now, berlin, days);
    return found && [new Date(found.at).toISOString().slice(0, 19), found.wholeDay, found.rest];
  };

  it.each([
    ['2026-11-22', '2026-11-21T23:00:00', true, ''],
    ['2026-11-22 14:00', '2026-11-22T13:00:00', false, ''],
    ['22/11 14:00', '2026-11-22T13:00:00', false, ''],
    ['22.11.', '2026-11-21T23:00:00', true, ''],
    ['22.11.2025 7:05:09', '2025-11-22T06:05:09', false, ''],
    ['24/12', '2025-12-23T23:00:00', true, ''],
    ['14:05', '2026-11-23T13:05:00', false, ''],
    ['15:05', '2026-11-22T14:05:00', false, ''],
    ['Yesterday 9:30', '2026-11-22T08:30:00', false, ''],
    ['door today', '2026-11-22T23:00:00', true, 'door'],
    ['1/7 12:00 front door', '2026-07-01T10:00:00', false, 'front door'],
    // The clock shows 2:30 twice in that night, and never in the other.
    ['25/10 2:30', '2026-10-25T00:30:00', false, ''],
    ['29/3 2:30', '2026-03-29T01:30:00', false, ''],
  ])('%s', (query, at, wholeDay, rest) => expect(said(query)).toEqual([at, wholeDay, rest]));

  it.each(['', 'door', '2026-13-01', '31/2', '25:00', '12:60', '2027-01-01', '24/11/2026', 'today 16:00', '192.168.1.7', '99/99'])(
    'nothing in “%s”',
    (query) => expect(said(query)).toBeNull(),
  );

  it('takes the last leap day that was', () => {
    expect(said('29/2', Date.parse('2024-06-01T00:00:00Z'))?.[0]).toBe('2024-02-28T23:00:00');
    expect(said('29/2')).toBeNull();
  });

  it('knows days that are two words', () => {
    expect(moment('hôm qua 14:00 cửa', NOW, berlin, { today: 'hôm nay', yesterday: 'hôm qua' })).toEqual({
      at: Date.parse('2026-11-22T13:00:00Z'),
      wholeDay: false,
      rest: 'cửa',
    });
  });
});
