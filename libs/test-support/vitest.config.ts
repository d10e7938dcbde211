import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: import.meta.dirname,
  cacheDir: '../../node_modules/.vite/libs/test-support',
  resolve: { conditions: ['@ryla/source'] },
  ssr: { resolve: { conditions: ['@ryla/source', 'node', 'import', 'module', 'default'] } },
  test: {
    name: 'test-support',
    include: ['src/**/*.test.ts'],
    passWithNoTests: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
