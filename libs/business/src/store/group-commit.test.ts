import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';

import { describe, it } from 'vitest';

import { GroupCommit, LARGEST_GROUP } from './group-commit.ts';
import { JobStoreError } from './store-error.ts';

/** A database that notes what is executed, and whose commits may fail. */
class LoggedDatabase extends DatabaseSync {
  readonly log: string[] = [];
  /** What the disk refuses. */
  broken: 'BEGIN IMMEDIATE' | 'COMMIT' | undefined;

  constructor() {
    super(':memory:');
    super.exec('CREATE TABLE t (n INTEGER) STRICT');
  }

  override exec(text: string): void {
    if (text === this.broken) throw new Error('disk I/O error');
    super.exec(text);
    this.log.push(text);
  }

  count(): number {
    return Number(this.prepare('SELECT count(*) AS n FROM t').get()?.['n']);
  }
}

describe('group commit', () => {
  it('commits what is asked for in one turn together, and resolves after the commit', async () => {
    const db = new LoggedDatabase();
    const { log } = db;
    const commits = new GroupCommit(db, (error) => error);
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    const count = 2 * LARGEST_GROUP + 1;
    await Promise.all(
      Array.from({ length: count }, (_, index) =>
        commits.write(() => insert.run(index)).then(() => log.push('resolved')),
      ),
    );
    const group = ['BEGIN IMMEDIATE', 'COMMIT', ...Array<string>(LARGEST_GROUP).fill('resolved')];
    assert.deepEqual(log, [...group, ...group, 'BEGIN IMMEDIATE', 'COMMIT', 'resolved']);
  });

  it('takes a refusal of ours along, and gives every write its own transaction for any other error', async () => {
    const db = new LoggedDatabase();
    const { log } = db;
    const commits = new GroupCommit(db, (error) => new Error('wrapped', { cause: error }));
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    const refusal = new JobStoreError('unknown_job', 'none');
    const refuse = (): never => {
      throw refusal;
    };
    const both = await Promise.allSettled([commits.write(() => insert.run(1)), commits.write(refuse)]);
    assert.deepEqual(
      both.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
    assert.deepEqual(log, ['BEGIN IMMEDIATE', 'COMMIT']);
    log.length = 0;
    const three = await Promise.allSettled([
      commits.write(() => insert.run(2)),
      commits.write(() => {
        insert.run(3);
        insert.run('not a number');
      }),
      commits.write(() => insert.run(4)),
    ]);
    assert.deepEqual(
      three.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.equal(db.count(), 3);
    assert.deepEqual(log, [
      'BEGIN IMMEDIATE',
      'ROLLBACK',
      'BEGIN IMMEDIATE',
      'COMMIT',
      'BEGIN IMMEDIATE',
      'ROLLBACK',
      'BEGIN IMMEDIATE',
      'COMMIT',
    ]);
  });

  it('acknowledges nothing when the disk refuses all of it, asks once, and goes on when it does not', async () => {
    const db = new LoggedDatabase();
    const commits = new GroupCommit(db, (error) => error);
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    for (const broken of ['BEGIN IMMEDIATE', 'COMMIT'] as const) {
      db.broken = broken;
      db.log.length = 0;
      const results = await Promise.allSettled([1, 2, 3].map((n) => commits.write(() => insert.run(n))));
      assert.deepEqual(
        results.map(({ status }) => status),
        ['rejected', 'rejected', 'rejected'],
      );
      assert.deepEqual(db.log, broken === 'COMMIT' ? ['BEGIN IMMEDIATE', 'ROLLBACK'] : []);
      assert.equal(db.count(), 0);
    }
    db.broken = undefined;
    await commits.write(() => insert.run(1));
    assert.equal(db.count(), 1);
  });
});
