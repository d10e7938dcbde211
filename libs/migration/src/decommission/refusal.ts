/** Why an old side is not switched off yet. */
export interface Refusal {
  readonly code:
    | 'stage'
    | 'jobs_in_store'
    | 'jobs_in_queue'
    | 'jobs_elsewhere'
    | 'billed'
    | 'volume_not_checked'
    | 'volume_not_verified';
  readonly message: string;
}
