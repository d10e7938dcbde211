/** How charts of the report are drawn: as SVG when the report is made, in the page's colours. */
import type { TopLevelSpec } from 'vega-lite';

import { Markup } from './markup.ts';

/** A chart with its words. */
export interface Chart {
  readonly title: string;
  readonly caption: string;
  readonly svg: Markup;
}

const AXIS = {
  labelColor: 'var(--muted)',
  titleColor: 'var(--muted)',
  gridColor: 'var(--line)',
  domainColor: 'var(--line)',
  tickColor: 'var(--line)',
  labelFontSize: 11,
  titleFontSize: 11,
  titleFontWeight: 'normal',
  tickCount: 5,
} as const;

/** Colours are the page's variables, so that they follow light and dark. */
export const CONFIG = {
  background: 'transparent',
  font: 'system-ui, sans-serif',
  view: { stroke: null },
  axis: AXIS,
  legend: { labelColor: 'var(--text)', labelFontSize: 12, orient: 'top', title: null, symbolStrokeWidth: 2 },
} as const;

/** The two sides in their colours, by the field `side`. */
export function sideColour() {
  return {
    field: 'side',
    type: 'nominal',
    scale: { domain: ['old', 'new'], range: ['var(--old)', 'var(--new)'] },
  } as const;
}

/** Draws a chart. Vega is loaded when a report is made only: it is large. */
export async function svgOf(spec: TopLevelSpec): Promise<Markup> {
  const [{ compile }, { parse, View }] = await Promise.all([import('vega-lite'), import('vega')]);
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  try {
    return new Markup(await view.toSVG());
  } finally {
    view.finalize();
  }
}
