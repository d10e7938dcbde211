import path from 'node:path';
import process from 'node:process';

/** A path that the user gave: relative to the folder in which the command was typed, wherever npm runs it. */
export function userPath(given: string): string {
  return path.resolve(process.env['INIT_CWD'] ?? process.cwd(), given);
}
