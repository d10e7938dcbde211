import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chown, constants, glob, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';

/** A PostgreSQL server of this process's own, on a socket in a temporary folder; it uses no port. */
export interface PostgresServer extends AsyncDisposable {
  readonly connectionString: string;
}

/** Where Debian, Homebrew and the source tree put the server's programs. */
const FOLDERS = ['/usr/lib/postgresql/*/bin', '/opt/homebrew/opt/postgresql*/bin', '/usr/local/pgsql/bin'];

/**
 * Runs the server as a child of a shell that holds our pipe: when this process goes, however it goes, the pipe closes
 * and the server goes too, with its folder.
 */
const UNTIL_THE_PIPE_CLOSES = `
  exec 3<&0
  "$1/postgres" -D "$2/data" -k "$2" -h '' -c max_connections=100 3<&- </dev/null &
  server=$!
  { cat <&3 >/dev/null; kill -INT $server; } 2>/dev/null 3<&3 &
  wait $server
  rm -rf "$2"
`;

/** The folder of PostgreSQL's server programs: in PATH or where they are usually installed; undefined without them. */
export async function findPostgres(): Promise<string | undefined> {
  const installed = await Promise.all(FOLDERS.map((pattern) => Array.fromAsync(glob(pattern))));
  const candidates = [...(process.env['PATH'] ?? '').split(path.delimiter), ...installed.flat().reverse()];
  for (const folder of candidates) {
    if (folder === '') continue;
    try {
      await access(path.join(folder, 'initdb'), constants.X_OK);
      await access(path.join(folder, 'postgres'), constants.X_OK);
      return folder;
    } catch {
      // Not in this one.
    }
  }
  return undefined;
}

/** Starts a server whose programs are in a folder, with an empty database. Disposing it stops it and deletes all. */
export async function startPostgres(programs: string): Promise<PostgresServer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'ryla-postgres-'));
  try {
    const user = await serverUser();
    if (user !== undefined) await chown(folder, user.uid, user.gid);
    const options = { cwd: folder, env: { LC_ALL: 'C', PATH: process.env['PATH'], TZ: 'UTC' }, ...user };
    const initdb = spawn(
      path.join(programs, 'initdb'),
      ['-D', path.join(folder, 'data'), '-U', 'ryla', '-A', 'trust', '-E', 'UTF8', '--no-sync'],
      { ...options, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const [complaint] = await Promise.all([
      initdb.stderr.setEncoding('utf8').toArray(),
      once(initdb, 'close'),
    ]);
    if (initdb.exitCode !== 0) throw new Error(`initdb failed:\n${complaint.join('')}`);
    const server = spawn('sh', ['-c', UNTIL_THE_PIPE_CLOSES, 'sh', programs, folder], {
      ...options,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    const ended = once(server, 'exit').catch(() => undefined);
    // A server that has gone already needs no word to go.
    server.stdin.on('error', () => undefined);
    const log: string[] = [];
    for await (const line of createInterface({ input: server.stderr })) {
      log.push(line);
      if (line.includes('ready to accept connections')) break;
    }
    if (!log.at(-1)?.includes('ready to accept connections'))
      throw new Error(`PostgreSQL did not start:\n${log.join('\n')}`);
    server.stderr.resume();
    return {
      connectionString: `postgres://ryla@/postgres?host=${encodeURIComponent(folder)}`,
      async [Symbol.asyncDispose]() {
        server.stdin.end();
        await ended;
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** PostgreSQL refuses to run as root: then it runs as a user without rights. */
async function serverUser(): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const wanted of ['postgres', 'nobody']) {
    const [, , uid, gid] = accounts.find(([name]) => name === wanted) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(
    'There is no user "postgres" or "nobody" to run PostgreSQL as, and it refuses to run as root.',
  );
}
