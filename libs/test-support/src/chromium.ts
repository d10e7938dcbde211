/** Headless Chromium. What it needs is installed for the checks that use it only, into an ignored folder. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { z } from 'zod';

const FOLDER = path.resolve(import.meta.dirname, '../../../node_modules/.cache/ryla-chromium');

/** Pinned, so that what was looked at is the same everywhere. */
const PACKAGES = { 'playwright-core': '1.65.1', '@sparticuz/chromium': '153.0.0' } as const;

/** Browsers that a machine may have; `RYLA_CHROMIUM` names another. */
const BROWSERS = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** What a page is shown as. */
export interface View {
  readonly viewport: { readonly width: number; readonly height: number };
  readonly colorScheme: 'light' | 'dark';
  readonly isMobile?: boolean;
}

/** The parts of playwright-core that are used here. */
export interface Page {
  goto(url: string): Promise<unknown>;
  waitForFunction(script: string, argument: unknown, options: { readonly timeout: number }): Promise<unknown>;
  evaluate(script: string): Promise<unknown>;
  screenshot(): Promise<Uint8Array>;
  pdf(): Promise<Uint8Array>;
  on(event: 'request', hear: (request: { url(): string }) => void): void;
  on(event: 'console', hear: (message: { type(): string; text(): string }) => void): void;
  on(event: 'pageerror', hear: (error: Error) => void): void;
}

/** A running browser. */
export interface Browser {
  newPage(view?: View): Promise<Page>;
  close(): Promise<void>;
}

interface BrowserType {
  launch(options: object): Promise<Browser>;
}

/** @throws {Error} where no Chromium can be had or started here. */
export async function launchChromium(): Promise<Browser> {
  await mkdir(FOLDER, { recursive: true });
  const manifest = JSON.stringify({ private: true, dependencies: PACKAGES });
  await writeFile(path.join(FOLDER, 'package.json'), manifest);
  await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', '--silent'], { cwd: FOLDER });
  const { executablePath, args } = await findBrowser();
  const { chromium } = z
    .object({ chromium: z.custom<BrowserType>(isObject) })
    .parse(await load('playwright-core/index.mjs'));
  return chromium.launch({ executablePath, args, headless: true });
}

async function findBrowser(): Promise<{ executablePath: string; args: readonly string[] }> {
  const given = process.env['RYLA_CHROMIUM'] ?? BROWSERS.find((file) => existsSync(file));
  if (given !== undefined) return { executablePath: given, args: ['--no-sandbox'] };
  if (process.platform !== 'linux')
    throw new Error('no Chromium was found; name one with RYLA_CHROMIUM=/path/to/chromium');
  // It unpacks itself into the temporary folder, together with the libraries that a small system lacks if it is told so.
  process.env['TMPDIR'] = FOLDER;
  process.env['AWS_LAMBDA_JS_RUNTIME'] ??= 'nodejs22.x';
  const { default: chromium } = z
    .object({ default: z.custom<{ executablePath(): Promise<string>; args: readonly string[] }>(isObject) })
    .parse(await load('@sparticuz/chromium/build/index.js'));
  return { executablePath: await chromium.executablePath(), args: chromium.args };
}

function isObject(value: unknown): boolean {
  return (typeof value === 'object' || typeof value === 'function') && value !== null;
}

async function load(file: string): Promise<unknown> {
  return import(pathToFileURL(path.join(FOLDER, 'node_modules', file)).href);
}
