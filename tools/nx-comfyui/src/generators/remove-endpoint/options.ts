/** Options of the generator remove-endpoint, as schema.json describes them. */
export interface RemoveEndpointOptions {
  readonly name: string;
  readonly force?: boolean;
}
