import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: import.meta.dirname,
  cacheDir: '../../../node_modules/.vite/apps/endpoints/z-image-turbo',
  resolve: { conditions: ['@ryla/source'] },
  ssr: { resolve: { conditions: ['@ryla/source', 'node', 'import', 'module', 'default'] } },
  test: { name: 'z-image-turbo', include: ['*.test.ts'] },
});
