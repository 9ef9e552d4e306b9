import { expect, it } from 'vitest';
import { write } from '../scripts/types.mjs';

const document = (schemas: object) => ({ components: { schemas } });

it('each schema becomes a type', () => {
  const text = write(
    document({
      Time: { anyOf: [{ type: 'string' }, { type: 'integer' }] },
      Kind: { oneOf: [{ const: 'clip', description: 'x' }, { const: 'timelapse' }] },
      Thing: {
        type: 'object',
        description: 'A thing.',
        properties: { id: { type: 'integer' }, at: { $ref: '#/components/schemas/Time' }, 'odd-name': { type: ['string', 'null'] }, many: { type: 'array', items: { type: ['integer', 'null'] } }, any: true },
        required: ['id', 'many'],
      },
    }),
  );
  for (const line of ['export type Time = string | number;', 'export type Kind = "clip" | "timelapse";', '/** A thing. */', 'readonly id: number;', 'readonly at?: Time;', 'readonly "odd-name"?: string | null;', 'readonly many: readonly (number | null)[];', 'readonly any?: unknown;']) {
    expect(text).toContain(line);
  }
});

it('what it does not know is not left out silently', () => {
  expect(() => write(document({ X: { type: 'object', properties: { a: { allOf: [] } } } }))).toThrow(/allOf/);
});
