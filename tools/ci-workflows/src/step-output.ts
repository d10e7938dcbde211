/** What a step hands to GitHub Actions. */
import { appendFileSync } from 'node:fs';
import process from 'node:process';

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Sets an output of the step that this runs in; on a laptop, where there is none, it is printed.
 *
 * @throws {Error} for a value of more than one line, which could set other outputs.
 */
export function setOutput(name: string, value: string, env: Variables = process.env): void {
  if (/[\r\n]/.test(value)) throw new Error(`The output ${name} has more than one line.`);
  const file = env['GITHUB_OUTPUT'];
  if (file === undefined || file === '') console.log(`${name}=${value}`);
  else appendFileSync(file, `${name}=${value}\n`);
}

/** Appends Markdown to the summary of the job; on a laptop it is printed. */
export function addSummary(markdown: string, env: Variables = process.env): void {
  const file = env['GITHUB_STEP_SUMMARY'];
  if (file === undefined || file === '') console.log(markdown);
  else appendFileSync(file, `${markdown}\n`);
}

/** Runs a program; what goes wrong becomes an annotation of the run, and exit code 1. */
export async function runStep(program: () => Promise<void> | void): Promise<void> {
  try {
    await program();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // The form of a workflow command: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    console.error(process.env['GITHUB_ACTIONS'] === 'true' ? `::error::${escapeCommand(message)}` : message);
    process.exitCode = 1;
  }
}

function escapeCommand(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}
