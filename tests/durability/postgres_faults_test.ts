import assert from "node:assert/strict";
import { readyPostmaster } from "../../src/engine/cluster.ts";
import { layoutOf } from "../../src/engine/layout.ts";
import { Committer } from "../../src/journal/committer.ts";
import { RewoundError, UnavailableError } from "../../src/store/errors.ts";
import { Connection, pause } from "../../src/store/postgres/connection.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import { numberedBatch, numberStored } from "./commits.ts";
import { startEngine } from "./engine.ts";

/** What a server says when the same commit may succeed later. */
const PASSING = [
  ["40001", "could not serialize access"],
  ["40P01", "deadlock detected"],
  ["53000", "insufficient resources"],
  ["53100", "could not extend file: No space left on device"],
  ["53200", "out of memory"],
  ["53300", "too many connections"],
  ["55P03", "lock not available"],
  ["57014", "canceling statement due to user request"],
  ["57P01", "terminating connection due to administrator command"],
  ["57P02", "terminating connection because of crash of another server process"],
  ["57P03", "the database system is starting up"],
  ["25006", "cannot execute INSERT in a read-only transaction"],
  ["58030", "could not write: Input/output error"],
] as const;

/** What a read gives once the server is there: a backend may commit after its postmaster was killed. */
async function answered<T>(read: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      await pause(50);
    }
  }
}

Deno.test("commits outlive what passes, and fail for what does not", async (t) => {
  const engine = await startEngine();
  const store = await openStore(engine.database, "default");
  const admin = new Connection(engine.database);
  let last = 0;
  const waits: string[] = [];
  try {
    const root = { uid: 0, gid: 0, time: 1n };
    const { id, head } = await store.createWorkspace("main", null, root);
    const holder = { host: "test", pid: 1, mountPoint: "/test" };
    /** A mount of its own: with the next epoch. */
    const make = async (retryTimeoutMs: number) => {
      const { epoch } = await store.attach(id, holder, 0);
      return new Committer(store, id, () => ({ epoch, head, publish: false }), {
        retryTimeoutMs,
        onWaiting: (error) => waits.push(error.message),
      });
    };
    let committer = await make(30_000);
    const commit = async (count = 1) => {
      for (let i = 0; i < count; i++) {
        committer.submit({ sequence: ++last, batch: numberedBatch(last) });
      }
      await committer.idle();
      assert.equal(await answered(() => numberStored(store, head)), last);
    };
    /** While it is there, inserts of inodes fail `times` times with this code. */
    const fail = async (code: string, message: string, times: number) => {
      // Its connection may have been ended meanwhile.
      await admin.query("select 1").catch(() => {});
      await admin.query("drop sequence if exists failures");
      await admin.query("create sequence failures");
      await admin.query(
        `create or replace function fail() returns trigger language plpgsql as $$
         begin
           if nextval('failures') <= ${times} then
             raise exception using errcode = '${code}', message = '${message}';
           end if;
           return null;
         end $$`,
      );
      await admin.query(
        `create or replace trigger fail before insert on inodes for each statement
         execute function fail()`,
      );
    };
    const heal = () => admin.query("drop trigger if exists fail on inodes");
    await commit();

    for (const [code, message] of PASSING) {
      await t.step(`${code}, ${message}: tried again`, async () => {
        await fail(code, message, 2);
        waits.length = 0;
        await commit();
        await heal();
        assert.equal(waits.length, 2, waits.join("; "));
        assert(waits.every((text) => text.includes(message)), waits.join("; "));
      });
    }

    await t.step("connections that are ended at random lose and double nothing", async () => {
      let ended = false;
      const killer = (async () => {
        while (!ended) {
          await admin.query(
            "select pg_terminate_backend(pid) from pg_stat_activity " +
              "where pid <> pg_backend_pid() and backend_type = 'client backend'",
          );
          await pause(250);
        }
      })();
      try {
        for (let round = 0; round < 60; round++) await commit();
      } finally {
        ended = true;
        await killer;
      }
    });

    await t.step("a server that takes no writes for a while is waited for", async () => {
      await admin.query("alter database tarbox set default_transaction_read_only = on");
      await admin.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()",
      );
      waits.length = 0;
      const done = commit();
      done.catch(() => {});
      while (!waits.some((text) => /read-only/.test(text))) await pause(10);
      await admin.query("set transaction_read_only = off");
      await admin.query("set default_transaction_read_only = off");
      await admin.query("alter database tarbox reset default_transaction_read_only");
      await done;
    });

    await t.step(
      "kill -9 of the server, again and again: nothing lost, nothing twice",
      async () => {
        for (let kill = 0; kill < 4; kill++) {
          for (let i = 0; i < 20; i++) {
            committer.submit({ sequence: ++last, batch: numberedBatch(last) });
          }
          await pause(kill * 15);
          const pid = await readyPostmaster(layoutOf(engine.home));
          assert(pid !== null, "the server is not up");
          Deno.kill(pid, "SIGKILL");
          await committer.idle();
          await commit();
          // A server that ends within a second of its start counts as one that cannot run.
          await pause(1000);
        }
      },
    );

    await t.step("past the retry timeout it is over, with the reason", async () => {
      await fail("53100", "No space left on device", 1_000_000);
      committer = await make(300);
      committer.submit({ sequence: last + 1, batch: numberedBatch(last + 1) });
      await assert.rejects(committer.idle(), /away for more than 0.3 s .*No space left on device/);
      await heal();
      assert.equal(await numberStored(store, head), last);
    });

    await t.step("what never passes fails at once", async () => {
      await fail("23514", "a check that somebody added", 1_000_000);
      committer = await make(30_000);
      committer.submit({ sequence: last + 1, batch: numberedBatch(last + 1) });
      await assert.rejects(committer.idle(), /a check that somebody added/);
      await heal();
    });

    await t.step("a batch that was confirmed and is gone is never passed over", async () => {
      committer = await make(30_000);
      await commit(2);
      // As a standby that lagged by one commit.
      await admin.query(
        "update workspaces set committed_sequence = committed_sequence - 1, version = version - 1",
      );
      committer.submit({ sequence: last + 1, batch: numberedBatch(last + 1) });
      await assert.rejects(committer.idle(), RewoundError);
      assert.equal(await numberStored(store, head), last);
    });

    await t.step("nobody there: told as unavailable", async () => {
      const nowhere = new Connection({ ...engine.database, port: 1 });
      await assert.rejects(nowhere.query("select 1 as one"), UnavailableError);
      await nowhere.close();
    });
  } finally {
    await admin.close();
    await store.close();
    await engine.close();
  }
});
