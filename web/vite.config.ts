/** How the page is built: hashed files under `assets/`, each beside its compressed forms, and `index.html`, which the server fills in. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** The build asks for another folder, which takes the place of the old one when it is whole. */
const outDir = process.env['SIGHTLINE_WEB_OUT'] ?? 'dist';
/** Where `npm run dev` finds a running program. */
const program = process.env['SIGHTLINE_URL'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  // Pages stand at several depths: assets are named from where they are.
  base: './',
  plugins: [svelte(), filledIn(), compressed()],
  build: {
    outDir,
    emptyOutDir: true,
    target: 'es2022',
    // The policy of our pages allows nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // hls.js alone, loaded only where WebRTC does not play.
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { '/api': program, '/live': program, '/ws': { target: program, ws: true } } },
  test: { include: ['test/**/*.test.ts'] },
});

/** What the server writes into the page, for `npm run dev`. */
function filledIn(): Plugin {
  const config = { view: 'dashboard', name: null, root: '/', streams: 'live/', signed_in: false, https_port: 8443 };
  return {
    name: 'filled-in',
    apply: 'serve',
    transformIndexHtml: (html) =>
      html.replace('{title}', 'Sightline').replace('{config}', JSON.stringify(config)),
  };
}

/** Brotli and gzip of every file that gains by it, made once here and not by each server. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    closeBundle() {
      const folder = join(outDir, 'assets');
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        if (!/\.(js|css|svg)$/.test(name) || statSync(path).size < 1_024) continue;
        const plain = readFileSync(path);
        const quality = { [constants.BROTLI_PARAM_QUALITY]: 11 };
        writeFileSync(`${path}.br`, brotliCompressSync(plain, { params: quality }));
        writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
      }
    },
  };
}
