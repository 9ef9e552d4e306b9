import { expect, it } from 'vitest';
import { sizes } from '../scripts/size.mjs';

const chunk = (over: object) => ({ module: null, main: false, entry: false, imports: [], dynamicImports: [], css: [], ...over });

it('a screen is what it brings beside the shell and whoever asks for it', () => {
  const chunks = {
    'main.js': chunk({ module: 'src/main.ts', main: true, entry: true, imports: ['shared.js'], dynamicImports: ['wall.js', 'hls.js'], css: ['main.css'] }),
    'shared.js': chunk({}),
    'wall.js': chunk({ module: 'src/views/Wall.svelte', entry: true, imports: ['shared.js', 'part.js'], dynamicImports: ['chart.js'], css: ['wall.css'] }),
    'part.js': chunk({}),
    'chart.js': chunk({ module: 'src/charts/chart.ts', entry: true, imports: ['part.js'] }),
    'hls.js': chunk({ module: 'node_modules/hls.js/dist/hls.mjs', entry: true }),
  };
  const { found, together } = sizes(chunks, (file: string) => ({ 'main.js': 1, 'shared.js': 10, 'main.css': 100, 'wall.js': 1_000, 'part.js': 10_000, 'wall.css': 100_000, 'chart.js': 1_000_000 })[file] ?? Number.NaN);
  expect(found).toEqual([
    { module: 'src/main.ts', bytes: 111 },
    { module: 'src/views/Wall.svelte', bytes: 111_000 },
    { module: 'src/charts/chart.ts', bytes: 1_000_000 },
  ]);
  expect(together).toBe(1_111_111);
});
