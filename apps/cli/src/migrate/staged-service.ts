/** Loaded only where there is a migration: the stages and their gates take a while. */
export { createStagedService } from '@ryla/migration/service';
