import { userInfo } from 'node:os';
import process from 'node:process';

/** Who changes something: the name that was given, or the user of this machine. */
export function changedBy(given: string | undefined): string {
  if (given !== undefined) return given;
  const { USER: user = '' } = process.env;
  return user === '' ? userInfo().username : user;
}
