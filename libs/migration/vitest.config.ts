import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: import.meta.dirname,
  cacheDir: '../../node_modules/.vite/libs/migration',
  resolve: { conditions: ['@ryla/source'] },
  // Without `import`: vitest hands these to Node, and then a CommonJS package (pg) would get the ES form of what it requires.
  ssr: { resolve: { conditions: ['@ryla/source', 'node'] } },
  test: {
    name: 'migration',
    include: ['src/**/*.test.ts'],
    passWithNoTests: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
