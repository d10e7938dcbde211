/** RunPod's published limits (docs read 2026-11-24; sources: docs/backends.md). */
export const RUNPOD_LIMITS = {
  /** Bytes of a POST /run body. */
  runBodyBytes: 10 * 1024 * 1024,
  /** Milliseconds that a result is kept after POST /run. */
  resultRetentionMs: 30 * 60 * 1000,
  /** GET /status calls per 10 s and endpoint. */
  statusPer10s: 2000,
} as const;
