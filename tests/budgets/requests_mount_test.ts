/**
 * Budgets that do not depend on how busy the machine is: requests of the kernel and round trips to
 * PostgreSQL, as `/.tarbox/stats/mount` counts them, for work on a real mount.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { TARBOX, withMounted } from "../posix/mounted.ts";

/** The part of `/.tarbox/stats/mount` that is looked at. */
interface Counts {
  readonly requests: Readonly<Record<string, number>>;
  readonly sql: { readonly statements: number; readonly roundTrips: number };
}

/** What happened between two looks: by kind, without kinds that did not. */
type Difference = Record<string, number>;

/** Releases and forgets arrive a little after what caused them. */
const SETTLING_MS = 100;

async function look(directory: string): Promise<Counts> {
  await new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
  return JSON.parse(Deno.readTextFileSync(join(directory, ".tarbox/stats/mount")));
}

function difference(before: Counts, after: Counts): Difference {
  const out: Difference = {};
  for (const [kind, count] of Object.entries(after.requests)) {
    const more = count - (before.requests[kind] ?? 0);
    if (more !== 0) out[kind] = more;
  }
  return out;
}

/** Requests that `work` causes: the difference that looking itself makes is taken off. */
async function requests(directory: string, work: () => void): Promise<Difference> {
  const first = await look(directory);
  const looked = difference(first, await look(directory));
  const before = await look(directory);
  work();
  const all = difference(before, await look(directory));
  for (const [kind, count] of Object.entries(looked)) {
    all[kind] = (all[kind] ?? 0) - count;
    if (all[kind] === 0) delete all[kind];
  }
  return all;
}

function total(counts: Difference): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** A native directory of small files, as packages have them. */
async function makeTree(directory: string, files: number): Promise<void> {
  for (let file = 0; file < files; file++) {
    const folder = join(directory, `package-${Math.floor(file / 20)}`);
    if (file % 20 === 0) await Deno.mkdir(folder, { recursive: true });
    Deno.writeTextFileSync(join(folder, `file-${file}.js`), `exports.n = ${file};\n`.repeat(20));
  }
}

async function shell(command: string, cwd: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("/bin/sh", { args: ["-c", command], cwd })
    .output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

Deno.test("requests and round trips stay within their budgets", async (t) => {
  await withMounted([], async ({ directory, tarbox }) => {
    await t.step("create, write and close of a small file: 7 requests", async () => {
      Deno.mkdirSync(join(directory, "small"));
      const counts = await requests(directory, () => {
        for (let i = 0; i < 100; i++) {
          Deno.writeTextFileSync(join(directory, "small", `file-${i}`), "some text\n");
        }
      });
      // The least that Linux 6.18 asks of any server that checks locks: spec/performance.md.
      assert.ok(total(counts) <= 7 * 100, JSON.stringify(counts));
    });

    await t.step("a warm stat: none", async () => {
      Deno.statSync(join(directory, "small/file-1"));
      const counts = await requests(directory, () => {
        for (let i = 0; i < 100; i++) Deno.statSync(join(directory, "small/file-1"));
      });
      assert.deepEqual(counts, {});
    });

    await t.step("a warm read: none", async () => {
      const file = Deno.openSync(join(directory, "small/file-1"));
      try {
        const buffer = new Uint8Array(100);
        const read = () => {
          file.seekSync(0, Deno.SeekMode.Start);
          assert.equal(file.readSync(buffer), 10);
        };
        read();
        const counts = await requests(directory, () => {
          for (let i = 0; i < 100; i++) read();
        });
        assert.deepEqual(counts, {});
      } finally {
        file.close();
      }
    });

    await t.step("1,000 entries listed with attributes, after a remount: 10", async () => {
      Deno.mkdirSync(join(directory, "thousand"));
      for (let i = 0; i < 1000; i++) {
        Deno.writeTextFileSync(join(directory, "thousand", `entry-number-${i}`), "");
      }
      assert.equal((await tarbox("umount", directory)).code, 0);
      assert.equal((await tarbox("mount", directory)).code, 0);
      const counts = await requests(directory, () => {
        const { stdout } = new Deno.Command("ls", {
          args: ["-lU", "--time-style=full-iso", join(directory, "thousand")],
        }).outputSync();
        assert.equal(new TextDecoder().decode(stdout).trim().split("\n").length, 1001);
      });
      const { getxattr: _, ...listing } = counts;
      assert.ok(total(listing) <= 10, JSON.stringify(counts));
    });

    await t.step("the same listing again: none but opening, until names change", async () => {
      const thousand = join(directory, "thousand");
      const names = () => [...Deno.readDirSync(thousand)].map(({ name }) => name).sort();
      const before = names();
      const { opendir: _, releasedir: __, ...more } = await requests(directory, () => {
        assert.deepEqual(names(), before);
      });
      assert.deepEqual(more, {});
      Deno.writeTextFileSync(join(directory, ".tarbox/layers/new"), "listed");
      Deno.writeTextFileSync(join(thousand, "new"), "");
      Deno.removeSync(join(thousand, "entry-number-7"));
      const changed = before.filter((name) => name !== "entry-number-7");
      assert.deepEqual(names(), [...changed, "new"].sort());
      Deno.writeTextFileSync(join(directory, ".tarbox/layers/switch"), "listed");
      // What is stale is told to the kernel after the switch is done.
      for (let tries = 0; tries < 100 && names().includes("new"); tries++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.deepEqual(names(), before);
    });

    await t.step("an untar of 20,000 files: 200 round trips to PostgreSQL", async () => {
      const tree = await Deno.makeTempDir({ prefix: "tarbox-budget-" });
      try {
        await makeTree(tree, 20_000);
        await shell(`tar cf tree.tar package-*`, tree);
        const before = await look(directory);
        await shell(`tar xf ${tree}/tree.tar`, directory);
        const status = await tarbox("status", "--json");
        const [{ stats }] = JSON.parse(status.out).mounts;
        const after = stats as Counts;
        assert.ok(difference(before, after)["create"]! >= 20_000, `${TARBOX}: no untar`);
        const trips = after.sql.roundTrips - before.sql.roundTrips;
        assert.ok(trips <= 200, `${trips} round trips`);
      } finally {
        await Deno.remove(tree, { recursive: true });
      }
    });
  });
});
