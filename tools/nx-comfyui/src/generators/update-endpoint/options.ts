/** Options of the generator update-endpoint, as schema.json describes them. */
export interface UpdateEndpointOptions {
  readonly name: string;
  readonly workflow: string;
  readonly from?: string;
  readonly objectInfo?: string;
}
