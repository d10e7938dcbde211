import type { ProviderChoice } from '../endpoint/endpoint-document.ts';

/** Options of the generator workflow-endpoint, as schema.json describes them. */
export interface WorkflowEndpointOptions {
  readonly name: string;
  readonly workflow: string;
  readonly from?: string;
  readonly objectInfo?: string;
  readonly provider?: ProviderChoice;
  readonly title?: string;
  readonly description?: string;
}
