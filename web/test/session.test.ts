import { describe, expect, it } from 'vitest';
import { failureOf, kindOf, wordsIn } from '../src/player/session';

describe('why a server said no', () => {
  it('is told in its own words', async () => {
    const problem = { title: 'Full', status: 503, detail: 'no room', next: 'come again later' };
    const failure = await failureOf(new Response(JSON.stringify(problem), { status: 503, headers: { 'retry-after': '3' } }));
    expect(failure).toEqual({ kind: 'refused', message: 'no room; come again later', retryAfterMs: 3_000 });
  });

  it('has no advice for people about a stream that is not there', async () => {
    const problem = { title: 'No such stream', status: 404, detail: 'no stream "x" is published', next: 'GET /api/v1/streams' };
    const failure = await failureOf(new Response(JSON.stringify(problem), { status: 404 }));
    expect(failure).toEqual({ kind: 'missing', message: 'no stream "x" is published' });
  });

  it.each([
    ['{"status":"error","error":"no one is publishing"}', 'no one is publishing'],
    ['plain words\n', 'plain words'],
    ['<html><body>502</body></html>', ''],
    ['null', 'null'],
    ['', ''],
  ])('is read from %s', (body, words) => {
    expect(wordsIn(body, 'refused')).toBe(words);
  });

  it('is never too long for a page', () => {
    expect(wordsIn('x'.repeat(100_000), 'refused').length).toBe(400);
    expect(wordsIn(JSON.stringify({ detail: 'x'.repeat(100_000) }), 'refused').length).toBe(400);
  });

  it('has a kind by its status', () => {
    expect([401, 403, 404, 410, 406, 500, 503].map(kindOf)).toEqual([
      'denied',
      'denied',
      'missing',
      'missing',
      'refused',
      'refused',
      'refused',
    ]);
  });

  it('asks for patience within reason', async () => {
    const failure = await failureOf(new Response('busy', { status: 503, headers: { 'retry-after': '99999' } }));
    expect(failure).toEqual({ kind: 'refused', message: 'busy', retryAfterMs: 120_000 });
  });
});
