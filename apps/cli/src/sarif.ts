import path from 'node:path';

/** A problem in a workflow file. */
export interface WorkflowFinding {
  readonly file: string;
  /** `error`: ComfyUI would refuse it. `warning`: it runs, but perhaps not as it was meant. */
  readonly level: 'error' | 'warning';
  /** Stable. */
  readonly code: string;
  readonly message: string;
  readonly nodeId: string | undefined;
  /** Line of the node, from 1, where it is known. */
  readonly line: number | undefined;
}

/** Findings as SARIF 2.1.0, which code review tools show beside the file. */
export function sarif(findings: readonly WorkflowFinding[], from: string, version: string): object {
  const rules = [...new Set(findings.map(({ code }) => code))].sort().map((id) => ({ id }));
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'ryla workflows lint', version, rules } },
        results: findings.map(({ file, level, code, message, nodeId, line }) => ({
          ruleId: code,
          level,
          message: { text: message },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: uriOf(file, from), uriBaseId: '%SRCROOT%' },
                // Review tools show nothing without a line.
                region: { startLine: line ?? 1 },
              },
              ...(nodeId === undefined ? {} : { logicalLocations: [{ name: `node ${nodeId}` }] }),
            },
          ],
        })),
      },
    ],
  };
}

/** Relative to where it was run, as code review needs it. */
function uriOf(file: string, from: string): string {
  const relative = path.relative(from, path.resolve(from, file));
  return relative.split(/[\\/]/).map(encodeURIComponent).join('/');
}
