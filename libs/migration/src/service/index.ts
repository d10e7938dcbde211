/** What a running service needs of a migration, without the comparison and its report. */
export { MigrationError } from '../migration-error.ts';
export { createStagedService, type StagedService, type StagedServiceOptions } from './staged-service.ts';
