/** Every workflow that Comfy-Org publishes, many with classes that the core catalogue lacks. */
import { describe, expect, it } from 'vitest';

import { templateTexts } from '../../test-support/template-packages.ts';
import { type ApiWorkflow, parseApiWorkflow } from '../api-workflow.ts';
import { printWorkflow } from '../canonical-workflow.ts';
import { coreObjectInfo } from '../node/core-catalogue.ts';
import { parseUiWorkflow, type UiWorkflow } from '../ui-workflow.ts';
import { WorkflowError } from '../workflow-error.ts';
import { convertUiWorkflow, toApiWorkflow } from './ui-to-api.ts';

/** For reading and converting the whole corpus once, in ms: 0.7 s on a quiet machine; far more would be another algorithm. */
const LIMIT_MS = 10_000;

const VIRTUAL = new Set(['Reroute', 'PrimitiveNode', 'Note', 'MarkdownNote']);

describe('the published templates', () => {
  it('each convert, or are refused with exactly the classes that the object_info lacks, twice alike', () => {
    const objectInfo = coreObjectInfo();
    const texts = templateTexts('comfyui-workflow-templates-json@0.1.123');
    const table = { files: texts.size, converted: 0, refused: 0, ms: 0 };
    for (const [file, text] of texts) {
      const started = performance.now();
      const workflow = parseUiWorkflow(JSON.parse(text));
      const first = convertOrRefuse(workflow);
      table.ms += performance.now() - started;

      if (first.refused !== undefined) {
        table.refused += 1;
        const absent = classesOf(workflow).filter((name) => !Object.hasOwn(objectInfo, name));
        expect(absent, file).toEqual(expect.arrayContaining([...first.refused]));
        expect(first.refused.length, file).toBeGreaterThan(0);
        // With those classes it converts: nothing else was missing.
        const added = Object.fromEntries(first.refused.map((name) => [name, emptyClass(name)]));
        const converted = convertUiWorkflow(workflow, { ...objectInfo, ...added });
        expect(Object.keys(converted).length, file).toBeGreaterThan(0);
      } else {
        table.converted += 1;
        expect(parseApiWorkflow(first.converted), file).toBe(first.converted);
        expect(toApiWorkflow(first.converted, objectInfo), file).toBe(first.converted);
        const again = convertUiWorkflow(workflow, objectInfo);
        expect(printWorkflow(again), file).toBe(printWorkflow(first.converted));
      }
      expect(JSON.stringify(workflow), `${file} was changed`).toBe(JSON.stringify(JSON.parse(text)));
    }
    table.ms = Math.round(table.ms);
    console.table(table);
    expect(table).toMatchObject({ files: 644, converted: 121, refused: 523 });
    expect(table.ms).toBeLessThanOrEqual(LIMIT_MS);

    function convertOrRefuse(workflow: UiWorkflow): Result {
      try {
        return { converted: convertUiWorkflow(workflow, objectInfo) };
      } catch (error) {
        if (WorkflowError.isInstance(error) && error.code === 'unknown_class')
          return { refused: error.classes };
        throw error;
      }
    }
  }, 30_000);
});

type Result =
  { readonly converted: ApiWorkflow; readonly refused?: undefined } | { readonly refused: readonly string[] };

function classesOf(workflow: UiWorkflow): string[] {
  const subgraphs = workflow.definitions?.subgraphs ?? [];
  const ids = new Set(subgraphs.map(({ id }) => id));
  return [workflow, ...subgraphs]
    .flatMap(({ nodes }) => nodes.map(({ type }) => type))
    .filter((type) => !ids.has(type) && !VIRTUAL.has(type));
}

function emptyClass(name: string) {
  return { name, input: {}, output: [] };
}
