/** Options of the generator custom-node, as schema.json describes them. */
export interface CustomNodeOptions {
  readonly endpoint: string;
  readonly checkout?: string;
  readonly repository?: string;
  readonly ref?: string;
  readonly registry?: string;
  readonly name?: string;
}
