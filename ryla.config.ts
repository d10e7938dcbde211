/** Where this workspace's jobs may go: docs/cli.md. Real clouds are used only with `--target cloud`. */
import { defineConfig } from '@ryla/business/config';

export default defineConfig({
  // A day's photo-finish on a real account costs a few cents at most.
  usdPerDay: { 'photo-finish': 1 },
});
