/** Stable codes of {@link WorkflowError}. */
export type WorkflowErrorCode =
  | 'invalid_workflow'
  | 'workflow_format_ui'
  | 'invalid_object_info'
  | 'unknown_class'
  | 'invalid_endpoint'
  | 'invalid_input'
  | 'invalid_marker'
  | 'invalid_node_map'
  | 'invalid_environment'
  | 'unknown_input'
  | 'missing_input';

const MARKER = Symbol.for('ryla.workflow.error');

/** What is wrong with a workflow, an endpoint.json or the inputs of a run, and where. */
export class WorkflowError extends Error {
  readonly [MARKER] = true;
  readonly code: WorkflowErrorCode;
  /** Node of the workflow, where one is to blame. */
  readonly nodeId: string | undefined;
  /** Input of the node, or of the endpoint. */
  readonly input: string | undefined;
  /** For `unknown_class`: the classes that the object_info lacks, sorted. */
  readonly classes: readonly string[];

  constructor(
    code: WorkflowErrorCode,
    message: string,
    options: {
      readonly nodeId?: string;
      readonly input?: string;
      readonly classes?: readonly string[];
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'WorkflowError';
    this.code = code;
    this.nodeId = options.nodeId;
    this.input = options.input;
    this.classes = options.classes ?? [];
  }

  /** Recognises the error across copies of this package. */
  static isInstance(value: unknown): value is WorkflowError {
    return value instanceof Error && MARKER in value;
  }
}
