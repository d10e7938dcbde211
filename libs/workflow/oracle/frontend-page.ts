/** The official frontend in headless Chromium. What it needs is installed for this test only, into an ignored folder. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import { type Browser, launchChromium, type Page } from '@ryla/test-support';
import { z } from 'zod';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const FOLDER = path.join(workspaceRoot, 'node_modules/.cache/ryla-oracle');

/** Pinned, so that the figures say what they are of: the one whose results are recorded. */
export const FRONTEND_VERSION = '1.58.1';

/** Longest wait for the page to be ready, and for one workflow, in milliseconds. */
const READY_MS = 60_000;

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
    const browser = await launchChromium();
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
