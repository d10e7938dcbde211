/** What tests, benchmarks and checks of several projects share. */
export type { BenchResult } from './bench-result.ts';
export { type Browser, launchChromium, type Page, type View } from './chromium.ts';
export { linkPackages, nxEnvironment, workspaceFiles } from './workspace-copy.ts';
