/** Options of the generator import-runpod, as schema.json describes them. */
export interface ImportRunpodOptions {
  /** Exported files; without any the account is read over the management API. */
  readonly files?: readonly string[];
  /** Writes what was planned. */
  readonly write?: boolean;
  /** Where the report is written, from the root of the workspace. */
  readonly report?: string;
}
