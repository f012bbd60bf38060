import assert from "node:assert/strict";
import { arm } from "../../src/base/failpoints.ts";
import { concatBytes } from "../../src/base/bytes.ts";
import { checkState } from "../../src/layer/check.ts";
import { readWhole } from "../../src/layer/file.ts";
import { backupTenant, recoverTenant } from "../../src/store/postgres/backup.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import { STALE_SECONDS } from "../../src/mount/lease.ts";
import { TreeFixture } from "../layer/fixture.ts";
import { startEngine } from "./engine.ts";
import type { Store } from "../../src/store/store.ts";

async function* inParts(data: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += 1000) yield data.slice(at, at + 1000);
}

/** Every layer and head by name, with the rows and bytes of its root directory. */
async function facts(store: Store): Promise<string[]> {
  const workspaces = await store.workspaces();
  const points = [
    ...(await store.layers()).map(({ name, uid, message, point }) => ({
      name: `${name} ${uid} ${message}`,
      point,
    })),
    ...workspaces.map(({ name, head }) => ({ name, point: head })),
  ];
  const out: string[] = [];
  for (const { name, point } of points) {
    assert.deepEqual((await checkState(store, point)).violations, []);
    const chain = await store.chain(point);
    for (const { dentry, inode } of await store.list(chain, 1, 0, 1e6)) {
      const data = new TextDecoder().decode(await readWhole(store, chain, inode));
      out.push(`${name}: ${dentry.name} ${inode.inode} ${inode.mtime} ${data}`);
    }
  }
  return out;
}

Deno.test("a tenant comes back from its backup as it was at one moment", async (t) => {
  const engine = await startEngine();
  const store = await openStore(engine.database, "default");
  const save = async () => {
    const parts: Uint8Array[] = [];
    await backupTenant(engine.database, "default", (data) => {
      parts.push(data.slice());
      return Promise.resolve();
    });
    return concatBytes(parts);
  };
  try {
    const tree = await TreeFixture.make(store, "main");
    await tree.write("/a", "first");
    const layer = await tree.seal("one");
    await tree.write("/a", "second");
    await tree.write("/b", "x".repeat(300_000));
    await tree.symlink("a", "/link");
    const fork = await TreeFixture.make(store, "fork", layer);
    await fork.write("/c", "in the fork");
    await fork.seal("two");
    const before = await facts(store);
    const backup = await save();

    await t.step("under another name", async () => {
      const { tenant } = await recoverTenant(engine.database, "copy", inParts(backup));
      assert.equal(tenant, "copy");
      const copy = await openStore(engine.database, "copy");
      assert.deepEqual(await facts(copy), before);
      // And it can be worked on.
      const row = (await copy.workspace("main"))!;
      assert.equal(row.lease, null);
      const holder = { host: "test", pid: 1, mountPoint: "/x" };
      const lease = await copy.attach(row.id, holder, STALE_SECONDS);
      await copy.detach(row.id, lease.epoch);
      const more = await TreeFixture.make(copy, "more", (await copy.layers())[0]!);
      await more.write("/new", "data");
      await more.seal("three");
      await facts(copy);
      await copy.close();
    });

    await t.step("never over one that is there", async () => {
      await assert.rejects(recoverTenant(engine.database, null, inParts(backup)), /is not empty/);
      assert.deepEqual(await facts(store), before);
    });

    await t.step("nothing of a damaged one, wherever the damage is", async () => {
      for (let i = 0; i < 24; i++) {
        const bad = backup.slice();
        const at = Math.floor((bad.length - 1) * i / 23);
        bad[at] = bad[at]! ^ 0x41;
        await assert.rejects(recoverTenant(engine.database, "bad", inParts(bad)));
        const cut = backup.subarray(0, at);
        await assert.rejects(recoverTenant(engine.database, "bad", inParts(cut)), /damaged/);
      }
      await assert.rejects(openStore(engine.database, "bad"), /none of that name/);
    });

    await t.step("nothing when it ends before its commit", async () => {
      arm("recover.commit:1=error");
      await assert.rejects(recoverTenant(engine.database, "bad", inParts(backup)), /failpoint/);
      arm(null);
      await assert.rejects(openStore(engine.database, "bad"), /none of that name/);
    });

    await t.step("of one moment, while somebody writes", async () => {
      let ended = false;
      const writer = (async () => {
        for (let i = 0; !ended; i++) {
          // The two change one after the other: a backup never has the second without the first.
          await tree.write("/a", `${i}`);
          await tree.write("/b", `${i}`);
        }
      })();
      for (let i = 0; i < 4; i++) {
        const busy = await save();
        await recoverTenant(engine.database, `busy-${i}`, inParts(busy));
        const copy = await openStore(engine.database, `busy-${i}`);
        const { head } = (await copy.workspace("main"))!;
        const chain = await copy.chain(head);
        const [a, b] = await Promise.all(["a", "b"].map(async (name) => {
          const key = { parent: 1, name: new TextEncoder().encode(name) };
          const [entry] = await copy.lookup(chain, [key]);
          return Number(new TextDecoder().decode(await readWhole(copy, chain, entry!.inode)));
        }));
        assert(Number.isNaN(b) || b === a || b! + 1 === a, `a ${a}, b ${b}`);
        await facts(copy);
        await copy.close();
      }
      ended = true;
      await writer;
    });

    await t.step("by the commands, through a file", async () => {
      const file = `${engine.home}/backup`;
      const tarbox = async (...args: string[]) => {
        const { success, stderr } = await new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "main.ts", ...args],
          env: { TARBOX_HOME: engine.home },
        }).output();
        assert(success, new TextDecoder().decode(stderr));
      };
      for (const { id, lease } of await store.workspaces()) await store.detach(id, lease!.epoch);
      await tarbox("backup", "--to", file);
      await tarbox("--tenant", "commands", "recover", file);
      const copy = await openStore(engine.database, "commands");
      assert.deepEqual(await facts(copy), await facts(store));
      await copy.close();
    });
  } finally {
    arm(null);
    await store.close();
    await engine.close();
  }
});
