/** `ryla migrate`: from RunPod to Modal, step by step. What the commands do is loaded when one runs. */
import { type Command, Option } from 'commander';

import { common } from '../commands/common-options.ts';
import { amount, wholeNumber } from '../option-values.ts';
import type { CompareOptions } from './compare-commands.ts';
import type { FinishOptions } from './finish-command.ts';
import type { ImportOptions } from './import-command.ts';
import type { AdvanceOptions, ChangeOptions, RollbackOptions } from './stage-commands.ts';
import type { MigrateOptions } from './migration-place.ts';
import type { ReportOptions } from './report-command.ts';
import { STAGE_NAMES } from './stage-names.ts';
import type { VolumeOptions } from './volume-command.ts';

/** Adds `ryla migrate`. */
export function addMigrateCommands(program: Command): void {
  const migrate = program
    .command('migrate')
    .description('move endpoints from RunPod to Modal, step by step, and back')
    .addHelpText('after', HELP);
  addImport(migrate);
  addVolume(migrate);
  addStages(migrate);
  addComparison(migrate);
  addFinish(migrate);
}

const HELP = `
In this order (docs/migration.md):
  ryla migrate import --from account.json --write   # endpoint.json files and ryla.migration.json
  ryla migrate volume --plan                        # then without --plan: the models
  ryla migrate compare flux-schnell --runs 30       # both sides, same inputs; a report
  ryla migrate advance flux-schnell                 # one stage, if its gates pass
  ryla migrate status
  ryla migrate rollback flux-schnell --reason "…"   # in effect within a second in every running service
  ryla migrate finish flux-schnell                  # what stands between RunPod and its end

Nothing on RunPod is changed except by \`finish --apply\` and \`finish --delete\`.
Exit codes: 0 done, 1 failed, 2 wrong command line, 3 refused (a gate misses, the file permits no more, there is
traffic): the numbers are printed, 130 interrupted.`;

function addImport(migrate: Command): void {
  common(migrate.command('import'))
    .description('make endpoint projects of a RunPod account; shows what it would make until --write')
    .option('--from <file...>', 'exported JSON files of the API v1 or v2; the account itself without any')
    .option('--write', 'write endpoint.json files, ryla.migration.json and the report')
    .option('--dry-run', 'only show, and do not ask either')
    .option('--report <file>', 'where the report is written', 'migration-import.md')
    .action(async (options: ImportOptions) => {
      await (await import('./import-command.ts')).importAccount(options);
    });
}

function addVolume(migrate: Command): void {
  common(migrate.command('volume'))
    .description('copy a RunPod network volume to the Modal Volume, from container to container')
    .option('--volume <id>', 'id of the network volume; the one that the endpoints name without it')
    .option('--data-center <name>', 'its data centre, such as EU-RO-1; asked of RunPod without it')
    .option('--plan', 'say what would be copied, how long it takes and what it costs; change nothing')
    .option('--check', 'compare only')
    .option('--rehash', 'with --check: read every copied file again')
    .option('--only <glob>', 'only these, by path or key, such as loras/*')
    .option('--used-only', 'only models that an endpoint.json names')
    .option('--endpoint <name>', 'only models of this endpoint')
    .option('--bandwidth <MB>', 'at most so many MB a second', amount)
    .option('--connections <n>', 'at once', wholeNumber)
    .option('--roots <folders>', 'other folders of models, by commas')
    .option('--overwrite', 'replace files of the Modal Volume that no copy brought')
    .option('--reread', 'where no checksum is known, read every byte twice')
    .option('--s3-url <url>', 'another S3 endpoint than the data centre has')
    .addHelpText(
      'after',
      `
Ctrl-C stops the copy; the next run goes on where it stopped and copies only what differs.
It needs RunPod's S3 API keys in the Modal secret ryla-runpod-s3: docs/migration-volume.md.`,
    )
    .action(async (options: VolumeOptions) => {
      await (await import('./volume-command.ts')).copyVolume(options);
    });
}

function addStages(migrate: Command): void {
  common(migrate.command('status [endpoint]'))
    .description('stages, gates with their numbers, jobs, spend of shadow jobs, who judges')
    .action(async (endpoint: string | undefined, options: MigrateOptions) => {
      await (await import('./stage-commands.ts')).status(endpoint, options);
    });
  changing(migrate.command('advance <endpoint>'))
    .description('go to the next stage if its gates pass; says which numbers miss otherwise')
    .addOption(new Option('--to <stage>', 'step by step up to this stage').choices(STAGE_NAMES))
    .option('--models-verified', 'you have verified the models on the new side by other means than the copy')
    .option('--write', 'where only ryla.migration.json stands in the way: change it')
    .action(async (endpoint: string, options: AdvanceOptions) => {
      await (await import('./stage-commands.ts')).advance(endpoint, options);
    });
  changing(migrate.command('hold <endpoint>'))
    .description('stay at the stage until resume; automatic rollback goes on')
    .action(async (endpoint: string, options: ChangeOptions) => {
      await (await import('./stage-commands.ts')).hold(endpoint, options);
    });
  changing(migrate.command('resume <endpoint>'))
    .description('end a hold')
    .action(async (endpoint: string, options: ChangeOptions) => {
      await (await import('./stage-commands.ts')).resume(endpoint, options);
    });
  changing(migrate.command('rollback <endpoint>'))
    .description('go back: new jobs go to the old side within a second in every running service')
    .addOption(new Option('--to <stage>', 'an earlier stage').choices(STAGE_NAMES).default('models_verified'))
    .option('--write', 'change ryla.migration.json too, so that it stays so')
    .action(async (endpoint: string, options: RollbackOptions) => {
      await (await import('./stage-commands.ts')).rollback(endpoint, options);
    });
}

const COMPARE_HELP = `
Every run is two jobs on the old side and one on the new: they cost what jobs cost there, one after the other.
Pictures, sounds (WAV, FLAC, MP3, Ogg, AAC, AIFF) and text need nothing more. Videos are decoded by PyAV in the
workspace's .venv, which \`npm run setup\` makes (34 MiB to download, 102 MB on disk, this machine only): without it
a person must look at videos whose bytes differ. Each output is compared on this machine: a picture of 1024 x 1024
takes about 0.4 s, a video as long as its 16 frames. The report keeps small copies of the 12 pairs that differ most.
Ctrl-C cancels the job that runs; nothing is reported then. docs/migration-compare.md says how it judges.`;

const REPORT_HELP = `
HTML (one file, no script, no request), Markdown and JSON. An endpoint is in it that was compared, or that
ryla.migration.json names. --bills reads RunPod's billing API and \`modal billing report\`: a side whose bill cannot be
had says why.`;

function addComparison(migrate: Command): void {
  withLoad(common(migrate.command('compare <endpoint>')))
    .description('run the same inputs on both sides and report how they differ; every run is three jobs')
    .option('--runs <n>', 'runs; fewer than 30 leave cost and latency unsure', wholeNumber, 30)
    .option('-i, --input <name=value...>', 'an input of every run; seeds are varied')
    .option('--inputs <file>', 'JSON: a list of sets of inputs, or one')
    .option('--seed <n>', 'decides the order and the drawn seeds', wholeNumber, 1)
    .option('-o, --out <folder>', 'where the report goes; out/migration/<endpoint> without it')
    .addHelpText('after', COMPARE_HELP)
    .action(async (endpoint: string, options: CompareOptions) => {
      await (await import('./compare-commands.ts')).compare(endpoint, options);
    });
  withLoad(common(migrate.command('report [comparison...]')))
    .description('one report of the newest comparisons, stages, gates, and jobs over time; changes nothing')
    .option(
      '--bills <days>',
      "what RunPod and Modal billed in the last days, by the hour, beside the jobs' reckoned cost",
      amount,
    )
    .option('-o, --out <folder>', 'where it goes', 'out/migration')
    .addHelpText('after', REPORT_HELP)
    .action(async (files: string[], options: ReportOptions) => {
      await (await import('./report-command.ts')).report(files, options);
    });
}

function addFinish(migrate: Command): void {
  common(migrate.command('finish <endpoint...>'))
    .description('switch RunPod off: proves that nothing needs it; changes nothing until --apply')
    .option('--apply', 'keep the configuration as a file, and scale the workers to 0')
    .option('--quiet-hours <n>', 'hours without traffic; those of ryla.migration.json without it', amount)
    .option('--without-volume', 'do not ask whether the network volumes were copied')
    .option('-o, --out <folder>', 'where the record goes', 'out/migration')
    .option('--delete', 'delete what is left on RunPod, each after somebody has typed its name at a terminal')
    .option('--delete-endpoint <id...>', 'delete only this; without a terminal with --confirm <its name>')
    .option('--delete-template <id...>', 'the same for a template')
    .option('--delete-volume <id...>', 'the same for a network volume, with all that lies on it')
    .option('--confirm <name...>', 'names of what is deleted by its id, in place of the questions')
    .option('--lose <key...>', 'what lies on a volume beside the models, and may be lost')
    .addHelpText('after', FINISH_HELP)
    .action(async (endpoints: string[], options: FinishOptions) => {
      await (await import('./finish-command.ts')).finish(endpoints, options);
    });
}

const FINISH_HELP = `
Examples:
  ryla migrate finish flux-schnell                       looks only
  ryla migrate finish flux-schnell --apply               keeps the configuration, scales the workers to 0
  ryla migrate finish flux-schnell --delete              asks for endpoint, templates and volumes, one by one
  ryla migrate finish flux-schnell --delete-volume vol9ryla01 --confirm ryla-models-dream-companion

Before each deletion RunPod is read again: what an endpoint or a pod still uses stays, and so does a volume with data
that no copy has. Every deletion is in the record. A run that was cut off goes on when it is run again.`;

function changing(command: Command): Command {
  return common(command)
    .option('--reason <text>', 'why; it is kept with the change', 'by hand')
    .option('--by <name>', 'who; the user of this machine without it');
}

function withLoad(command: Command): Command {
  return command
    .option('--jobs-per-month <n>', "the team's volume, for a month's cost", amount)
    .option('--hours-per-day <n>', 'hours of the day over which jobs come; 24 without it', amount);
}
