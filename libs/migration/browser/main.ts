/** `npm run test:report`: opens a report in headless Chromium, as a desktop and as a phone, dark and light, and printed. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { type Browser, launchChromium, type View } from '@ryla/test-support';
import sharp from 'sharp';
import { z } from 'zod';

import { exampleReport } from './example-report.ts';

const VIEWS: Readonly<Record<string, View>> = {
  desktop: { viewport: { width: 1200, height: 1000 }, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: 'light', isMobile: true },
  'desktop-light': { viewport: { width: 1200, height: 1000 }, colorScheme: 'light' },
  'phone-dark': { viewport: { width: 390, height: 844 }, colorScheme: 'dark', isMobile: true },
};

/** Parts of the page that docs show, and which of the headings that they begin with. */
const PARTS = {
  '': { heading: 'RunPod to Modal', nth: 0 },
  '-time': { heading: 'Over the time', nth: 0 },
  '-pictures': { heading: 'Pictures', nth: 1 },
};

/** What is looked at in the page. */
const looked = z.object({
  width: z.number(),
  inner: z.number(),
  title: z.string(),
  brightness: z.number(),
  pictures: z.number(),
  broken: z.number(),
  charts: z.number(),
  timeCharts: z.array(z.object({ shown: z.number(), drawn: z.number() })),
  cut: z.array(z.string()),
  alerted: z.unknown().optional(),
});
const LOOK = `(() => {
  for (const details of document.querySelectorAll('details')) details.open = true;
  const pictures = [...document.images];
  const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).map(Number);
  return {
    width: document.documentElement.scrollWidth,
    inner: globalThis.innerWidth,
    title: document.title,
    brightness: (red + green + blue) / 3,
    pictures: pictures.length,
    broken: pictures.filter((picture) => picture.complete && picture.naturalWidth === 0).length,
    charts: document.querySelectorAll('svg').length,
    timeCharts: [...document.querySelectorAll('figure.wide svg, figure.narrow svg')]
      .filter((chart) => chart.checkVisibility())
      .map((chart) => ({ shown: chart.getBoundingClientRect().width, drawn: Number(chart.getAttribute('width')) })),
    cut: [...document.querySelectorAll('td, th, li, p, figure, h2, h3')]
      .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 1)
      .filter((each) => getComputedStyle(each.closest('thead') ?? each).position !== 'absolute')
      .map((each) => each.textContent.trim().slice(0, 40)),
    alerted: globalThis.alerted,
  };
})()`;

const { values } = parseArgs({
  options: { screenshots: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
});
if (values.help) {
  console.log(
    'Usage: npm run test:report -- [--screenshots <folder>]\n\n' +
      'Opens a report of scripted jobs in headless Chromium: desktop and phone, dark and light, printed.\n' +
      '--screenshots docs/images refreshes the pictures in docs/migration-compare.md.\n' +
      'RYLA_CHROMIUM  the Chromium to use; without it one of this machine, on Linux else one from npm.\n' +
      'What it needs is installed into node_modules/.cache/ryla-chromium. Skipped where it cannot be had.',
  );
  process.exit(0);
}

const browser = await launchChromium().catch((error: unknown) => {
  console.log(`skipped: ${error instanceof Error ? error.message : String(error)}`);
  return undefined;
});
if (browser !== undefined) {
  const folder = await mkdtemp(path.join(tmpdir(), 'ryla-report-'));
  try {
    const file = path.join(folder, 'report.html');
    await writeFile(file, (await exampleReport()).html);
    for (const [name, view] of Object.entries(VIEWS))
      await check(browser, name, view, pathToFileURL(file).href);
  } finally {
    await browser.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function check(chromium: Browser, name: string, view: View, url: string): Promise<void> {
  const page = await chromium.newPage(view);
  const [asked, problems]: [string[], string[]] = [[], []];
  page.on('request', (request) => asked.push(request.url()));
  page.on('console', (message) => problems.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => problems.push(error.message));
  await page.goto(url);
  const shown = ['desktop', 'phone'].includes(name) ? values.screenshots : undefined;
  for (const [part, { heading, nth }] of shown === undefined ? [] : Object.entries(PARTS)) {
    await page.evaluate(`[...document.querySelectorAll('h1, h3')]
      .filter((each) => each.textContent.startsWith(${JSON.stringify(heading)}))[${nth}].scrollIntoView()`);
    await sharp(await page.screenshot())
      .png({ palette: true })
      .toFile(path.join(shown ?? '', `migration-report${part}-${name}.png`));
  }
  const found = looked.parse(await page.evaluate(LOOK));
  assert.equal(found.title, 'RunPod to Modal');
  assert.ok(
    found.width <= view.viewport.width,
    `${name}: ${found.width} pixels wide, it can be scrolled aside`,
  );
  assert.ok(
    view.colorScheme === 'dark' ? found.brightness < 80 : found.brightness > 200,
    `${name}: ${found.brightness}`,
  );
  assert.ok(
    found.pictures > 10 && found.broken === 0,
    `${name}: ${found.broken} of ${found.pictures} pictures are broken`,
  );
  assert.ok(found.charts >= 12, `${name}: ${found.charts} charts`);
  // Three endpoints, of which one has no jobs; a chart that is scaled down has text that nobody can read.
  assert.equal(found.timeCharts.length, 2, `${name}: ${found.timeCharts.length} time charts are seen`);
  for (const { shown, drawn } of found.timeCharts)
    assert.ok(shown > 0.95 * drawn, `${name}: a time chart of ${drawn} pixels is shown with ${shown}`);
  assert.deepEqual(found.cut, [], `${name}: cut off at the right`);
  assert.equal(found.alerted, undefined, 'what a prompt holds has run');
  assert.deepEqual(problems, [], name);
  assert.deepEqual(
    asked.filter((address) => address !== url && !address.startsWith('data:')),
    [],
    'the page asks for something',
  );
  const { length } = await page.pdf();
  assert.ok(length > 50_000, `${name}: printed, it has ${length} bytes`);
  console.log(`${name}: ${found.pictures} pictures, ${found.charts} charts, ${length} bytes printed`);
}
