/** From RunPod to Modal: import, stages with gates, automatic rollback. */
export { type FileChange, stageChange } from './file/file-change.ts';
export {
  backendsOf,
  type EndpointMigration,
  MIGRATION_FILE,
  MIGRATION_SCHEMA,
  type MigrationFile,
  migrationFile,
  migrationJsonSchema,
  migrationOf,
  parseMigrationFile,
  readMigrationFile,
} from './file/migration-file.ts';
export type { GateResult, GateState, Lines } from './gates/gate.ts';
export {
  FALSE_ROLLBACK,
  type GateName,
  GATES,
  lookAtGates,
  MISSED_REGRESSION,
  type NamedGateResult,
  type SideSeries,
} from './gates/gates.ts';
export { COMPARE_TAG, PARITY_TAGS, SHADOW_TAG } from './gates/observation.ts';
export { type Thresholds, thresholds } from './gates/thresholds.ts';
export { MIGRATION_ERROR_CODES, MigrationError, type MigrationErrorCode } from './migration-error.ts';
export type { Finding } from './stages/assessment.ts';
export { JUDGE_LEASE, type JudgeNote, judgeStatus, type JudgeStatus } from './stages/judge-note.ts';
export { JUDGE_MS, JUDGE_SILENCE_MS, type JudgeOptions, needsJudge, startJudge } from './stages/judge.ts';
export {
  type Advance,
  createMigration,
  type Migration,
  type MigrationOptions,
  type MigrationStatus,
  type Rollback,
} from './stages/migration.ts';
export { type OpenShadow, openShadows, type SpentToday, spentToday } from './stages/shadow-budget.ts';
export {
  type CompareResults,
  createShadowRunner,
  MAXIMUM_SHADOWS,
  shadowing,
  type ShadowRunner,
  type ShadowRunnerOptions,
  worstCaseUsd,
} from './stages/shadow-runner.ts';
export { type ModelsVerified, modelsVerified, noteModelsVerified } from './stages/models-verified.ts';
export { compareStages, shareOf, type Stage, STAGES } from './stages/stage.ts';
export type { Change, StageChange, StageState } from './stages/stage-state.ts';
export {
  routeOf,
  ROUTES_POLL_MS,
  type StagedRoutes,
  stagedRoutes,
  type StagedRoutesOptions,
} from './stages/staged-routes.ts';
export { FIRST_LOOK, LOOK_SIZES } from './statistics/looks.ts';
export { type Account, mergeAccounts, parseExport, readAccount, readExports } from './import/account.ts';
export {
  type ImportedVolume,
  type ImportPlan,
  plannedFiles,
  type PlannedFile,
  planImport,
} from './import/import-plan.ts';
export { importReport } from './import/import-report.ts';
export type { ImportedEndpoint } from './import/imported-endpoint.ts';
export type { Entry, Fate } from './import/ledger.ts';
export {
  compareBackends,
  type CompareOptions,
  type CompareProgress,
  MAXIMUM_RUNS,
} from './compare/compare.ts';
export { THUMBNAIL_PAIRS } from './compare/shown-pairs.ts';
export {
  type ComparedJob,
  type ComparedLatency,
  type ComparedOutput,
  type ComparedPair,
  type ComparedSide,
  type Comparison,
  comparison,
  type ComparisonCheck,
  type ComparisonInterval,
  parseComparison,
} from './compare/comparison.ts';
export { BUSY, projectedCost, type ProjectedCost, type SideOptions, type Volume } from './compare/costs.ts';
export type {
  DecodedVideo,
  UndecodedVideo,
  VideoDecoder,
  VideoFrame,
  VideoReading,
} from './compare/decoded-video.ts';
export { judgeResults } from './compare/judge-results.ts';
export type { DecodedAudio } from './compare/decoded-audio.ts';
export { type Limits, ROUNDING } from './compare/noise-floor.ts';
export { variedInputs } from './compare/varied-inputs.ts';
export type { Bill, BillPart, EndpointBill, SideBill } from './bills/bill.ts';
export { type BillingHours, billingHours } from './bills/billing-hours.ts';
export { endpointBill, type EndpointBillOptions } from './bills/endpoint-bill.ts';
export { modalBill, modalBillArguments } from './bills/modal-bill.ts';
export { runpodBill, type RunpodBillOptions } from './bills/runpod-bill.ts';
export type { JobSeries, SeriesArm, SeriesPoint, SeriesTotal } from './report/job-series.ts';
export {
  type MigrationRecord,
  type MigrationRecordOptions,
  readMigrationRecords,
  REPORTED_DAYS,
} from './report/migration-record.ts';
export { createReport, type Report, type ReportOptions } from './report/report.ts';
export {
  type Decommission,
  type DecommissionOptions,
  type NamingEndpoint,
  planDecommission,
  scaleToZero,
} from './decommission/decommission.ts';
export { deleteResource } from './decommission/delete-resource.ts';
export { type Deletion, type Resource, VOLUME_CHECK_MS } from './decommission/deletion.ts';
export {
  type DeletionNote,
  type KeptRecord,
  keptRecord,
  type OldSideRecord,
  REDACTED,
} from './decommission/old-side-record.ts';
export { type QueueHealth, readQueueHealth } from './decommission/queue-health.ts';
export type { Refusal } from './decommission/refusal.ts';
export type { Traffic } from './decommission/traffic.ts';
export { type VolumeCheck, volumeCheck, type VolumeData } from './decommission/volume-data.ts';
