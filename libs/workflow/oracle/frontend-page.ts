/** The official frontend in headless Chromium. What it needs is installed for this test only, into an ignored folder. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { z } from 'zod';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const FOLDER = path.join(workspaceRoot, 'node_modules/.cache/ryla-oracle');

/** Pinned, so that the figures say what they are of. The frontend is the one whose results are recorded. */
const PACKAGES = { 'playwright-core': '1.65.1', '@sparticuz/chromium': '153.0.0' } as const;
export const FRONTEND_VERSION = '1.58.1';

/** Browsers that a machine may have; `RYLA_CHROMIUM` names another. */
const BROWSERS = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** Longest wait for the page to be ready, and for one workflow, in milliseconds. */
const READY_MS = 60_000;

/** The part of playwright-core that is used here. */
interface Page {
  goto(url: string): Promise<unknown>;
  waitForFunction(script: string, argument: unknown, options: { timeout: number }): Promise<unknown>;
  evaluate(script: string): Promise<unknown>;
}

interface BrowserType {
  launch(options: object): Promise<Browser>;
}

interface Browser {
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

/** Folder of the frontend's files. */
export async function installFrontend(): Promise<string> {
  const target = path.join(FOLDER, `frontend-${FRONTEND_VERSION}`);
  const files = path.join(target, 'comfyui_frontend_package/static');
  if (!existsSync(path.join(files, 'index.html'))) {
    const python = path.join(workspaceRoot, '.venv/bin/python');
    const uv = path.join(workspaceRoot, '.tools/bin/uv');
    const wanted = `comfyui-frontend-package==${FRONTEND_VERSION}`;
    const args = ['pip', 'install', '--quiet', '--no-deps', '--python', python, '--target', target, wanted];
    await promisify(execFile)(uv, args);
  }
  return files;
}

/** A page of the official frontend, ready to convert. */
export class FrontendPage implements AsyncDisposable {
  readonly #browser: Browser;
  readonly #page: Page;

  private constructor(browser: Browser, page: Page) {
    this.#browser = browser;
    this.#page = page;
  }

  /** @throws {Error} where no Chromium can be had or started here. */
  static async launch(): Promise<FrontendPage> {
    await mkdir(FOLDER, { recursive: true });
    const manifest = JSON.stringify({ private: true, dependencies: PACKAGES });
    await writeFile(path.join(FOLDER, 'package.json'), manifest);
    await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', '--silent'], { cwd: FOLDER });
    const { executablePath, args } = await findBrowser();
    const { chromium } = z
      .object({ chromium: z.custom<BrowserType>(isObject) })
      .parse(await load('playwright-core/index.mjs'));
    const browser = await chromium.launch({ executablePath, args, headless: true });
    return new FrontendPage(browser, await browser.newPage());
  }

  /** Opens a ComfyUI's page and waits until it knows its classes. */
  async open(url: string): Promise<void> {
    await this.#page.goto(url);
    const app = 'globalThis.comfyAPI?.app?.app';
    await this.#page.waitForFunction(`${app}?.vueAppReady === true && ${app}.canvas != null`, undefined, {
      timeout: READY_MS,
    });
    const probe = { last_node_id: 1, last_link_id: 0, version: 0.4, links: [], groups: [], nodes: [PROBE] };
    for (const end = Date.now() + READY_MS; Date.now() < end;) {
      const output = z.record(z.string(), z.unknown()).parse(await this.convert(probe).catch(() => ({})));
      const { class_type: name } = z.object({ class_type: z.string().optional() }).parse(output['1'] ?? {});
      if (name === PROBE.type) return;
    }
    throw new Error(`The page at ${url} did not come to know its classes within ${READY_MS / 1000} s.`);
  }

  /** What the page would queue for a workflow: `loadGraphData`, then `graphToPrompt`. */
  async convert(workflow: unknown): Promise<unknown> {
    return this.#page.evaluate(`(async () => {
      const app = globalThis.comfyAPI.app.app;
      await app.loadGraphData(${JSON.stringify(workflow)}, true, false, null, {});
      return JSON.parse(JSON.stringify((await app.graphToPrompt()).output));
    })()`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

/** A node of every ComfyUI. */
const PROBE = {
  ...{ id: 1, type: 'EmptyLatentImage', pos: [0, 0], size: [200, 100], flags: {}, order: 0, mode: 0 },
  ...{ inputs: [], outputs: [], properties: {}, widgets_values: [64, 64, 1] },
};

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
