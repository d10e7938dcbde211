/** A problem in a workflow file. */
export interface WorkflowFinding {
  readonly file: string;
  /** Stable. */
  readonly code: string;
  readonly message: string;
  readonly nodeId: string | undefined;
}

/** Findings as SARIF 2.1.0, which code review tools show beside the file. */
export function sarif(findings: readonly WorkflowFinding[]): object {
  const rules = [...new Set(findings.map(({ code }) => code))].sort().map((id) => ({ id }));
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'ryla workflows lint', rules } },
        results: findings.map(({ file, code, message, nodeId }) => ({
          ruleId: code,
          level: 'error',
          message: { text: message },
          locations: [
            {
              physicalLocation: { artifactLocation: { uri: file.replaceAll('\\', '/') } },
              ...(nodeId === undefined ? {} : { logicalLocations: [{ name: `node ${nodeId}` }] }),
            },
          ],
        })),
      },
    ],
  };
}
