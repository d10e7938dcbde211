import process from 'node:process';

/**
 * Does something while stdout belongs to a command's own result: what code of others prints meanwhile goes to stderr.
 */
export async function keepingStdout<Result>(work: () => Promise<Result>): Promise<Result> {
  const { stdout, stderr } = process;
  const write = stdout.write.bind(stdout);
  stdout.write = stderr.write.bind(stderr);
  try {
    return await work();
  } finally {
    stdout.write = write;
  }
}
