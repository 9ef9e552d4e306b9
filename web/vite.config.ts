/** How the page is built: hashed files under `assets/`, each beside its compressed forms, and `index.html`, which the server fills in. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { GetModuleInfo } from 'rollup';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const here = dirname(fileURLToPath(import.meta.url));
/** The build asks for another folder, which takes the place of the old one when it is whole. */
const outDir = process.env['SIGHTLINE_WEB_OUT'] ?? 'dist';
/** Where `npm run dev` finds a running program. */
const program = process.env['SIGHTLINE_URL'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  // Pages stand at several depths: assets are named from where they are.
  base: './',
  plugins: [svelte(), filledIn(), installable(), compressed(), listed()],
  build: {
    outDir,
    emptyOutDir: true,
    target: 'es2022',
    // 4 % smaller than by esbuild: 245 KB in place of 256.
    minify: 'terser',
    terserOptions: { ecma: 2020, module: true, compress: { passes: 2 }, format: { comments: false } },
    // The policy of our pages allows nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // hls.js alone, loaded only where WebRTC does not play.
    chunkSizeWarningLimit: 600,
    rollupOptions: { output: { manualChunks: together() } },
  },
  server: { proxy: { '/api': { target: program, ws: true }, '/live': program, '/ws': { target: program, ws: true } } },
  // What must not grow is measured after a collection.
  test: { include: ['test/**/*.test.ts'], pool: 'forks', poolOptions: { forks: { execArgv: ['--expose-gc'] } } },
});

/**
 * What every page loads is one file: cut up by who else needs which part of it, it was 27, larger by a tenth and each a request. Without the first module, which
 * waits for words that are loaded then and need what is here.
 */
function together(): (id: string, all: { getModuleInfo: GetModuleInfo }) => string | undefined {
  const main = join(here, 'src/main.ts');
  let shell: Set<string> | null = null;
  return (id, { getModuleInfo }) => {
    if (shell === null) {
      shell = new Set([main]);
      for (const one of shell) for (const next of getModuleInfo(one)?.importedIds ?? []) shell.add(next);
      shell.delete(main);
    }
    return shell.has(id) ? 'shell' : undefined;
  };
}

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

/** The manifest and its icons, beside the scripts and named by what is in them. Its start is the dashboard, wherever a proxy has put it. */
function installable(): Plugin {
  const named = (name: string, end: string, source: string | Buffer) => ({
    type: 'asset' as const,
    fileName: `assets/${name}-${createHash('sha256').update(source).digest('hex').slice(0, 8)}.${end}`,
    source,
  });
  const icons = [192, 512].map((size) => ({ size, file: named(`app-${size}`, 'png', readFileSync(join(here, `src/icons/${size}.png`))) }));
  const manifest = {
    name: 'Sightline',
    short_name: 'Sightline',
    description: 'Live pictures of your cameras',
    start_url: '../',
    scope: '../',
    display: 'standalone',
    background_color: '#0b0d10',
    theme_color: '#0b0d10',
    icons: icons.flatMap(({ size, file }) =>
      ['any', 'maskable'].map((purpose) => ({ src: file.fileName.replace('assets/', ''), sizes: `${size}x${size}`, type: 'image/png', purpose })),
    ),
  };
  const list = named('app', 'webmanifest', JSON.stringify(manifest));
  const link = (rel: string, file: string) => ({ tag: 'link', attrs: { rel, href: `./${file}` }, injectTo: 'head' as const });
  return {
    name: 'installable',
    apply: 'build',
    generateBundle() {
      for (const file of [list, ...icons.map((icon) => icon.file)]) this.emitFile(file);
    },
    transformIndexHtml: () => [link('manifest', list.fileName), link('apple-touch-icon', icons[0]?.file.fileName ?? '')],
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

/** Which files a screen needs, for `scripts/size.mjs`. */
function listed(): Plugin {
  return {
    name: 'listed',
    apply: 'build',
    writeBundle(_, bundle) {
      const chunks = Object.values(bundle).filter((file) => file.type === 'chunk');
      const entries = chunks.map(({ fileName, facadeModuleId, moduleIds, isEntry, isDynamicEntry, imports, dynamicImports, ...chunk }) => {
        const asked = facadeModuleId ?? moduleIds.find((id) => (this.getModuleInfo(id)?.dynamicImporters.length ?? 0) > 0);
        const css = [...((chunk as { viteMetadata?: { importedCss: Set<string> } }).viteMetadata?.importedCss ?? [])];
        const module = isEntry ? 'src/main.ts' : asked ? relative(here, asked) : null;
        return [fileName, { module, main: isEntry, entry: isEntry || isDynamicEntry, imports, dynamicImports, css }];
      });
      writeFileSync(join(outDir, '.chunks.json'), JSON.stringify(Object.fromEntries(entries)));
    },
  };
}
