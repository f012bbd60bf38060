/** The round trip of random layered trees, for a test to run on a kind of store. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../base/bytes.ts";
import {
  isDirectory,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "../base/modes.ts";
import { BLOCK_SIZE, type LayerRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import { packXattrs } from "../store/xattrs.ts";
import { importImage } from "./import.ts";
import { joinPath, parentPath } from "./paths.ts";
import { describeTree, exportBytes, inChunks, TreeFixture } from "./tree_fixture.ts";

/** Names whose bytes sort around `/` and `.wh.`, one that is not UTF-8, and a long one. */
const NAMES = ["a", "a-b", "+x", "b", ".hidden", "\xff\xfe", "n".repeat(200), "c"];

type Step = readonly [kind: number, a: number, b: number, seed: number];

const CONTENTS = [0, 1, 511, 512, 513, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 300_000];

function attributes(seed: number) {
  const xattrs = [
    { name: utf8("user.k"), value: Uint8Array.of(0, 255, 10, seed & 255) },
    { name: utf8("user.a=b"), value: utf8("v") },
    { name: utf8("security.empty"), value: new Uint8Array() },
  ].slice(0, seed % 4);
  return {
    uid: seed % 3 === 0 ? 4_000_000_000 : seed % 1000,
    gid: seed % 5 === 0 ? 2_097_152 : 7,
    mtime: [0n, -1_500_000_000n, 1_700_000_000_123_456_789n, 9_000_000_000n * 10n ** 9n][seed % 4]!,
    xattrs: packXattrs(xattrs),
  };
}

function bytesOf(seed: number): Uint8Array {
  const out = new Uint8Array(CONTENTS[seed % CONTENTS.length]!);
  for (let i = 0; i < out.length; i += 4096) out[i] = seed + i;
  return out;
}

function apply(tree: TreeFixture, [kind, a, b, seed]: Step): void {
  const paths = tree.paths();
  const at = (n: number) => paths[n % paths.length]!;
  const directories = paths.filter((path) => isDirectory(tree.inodeAt(path)!.mode));
  const fresh = joinPath(directories[b % directories.length]!, NAMES[seed % NAMES.length]!);
  if (fresh.split("/").length > 5) return;
  const some = at(a);
  switch (kind) {
    case 0:
      return tree.mkdir(fresh, { ...attributes(seed), mode: S_IFDIR | 0o1700 });
    case 1:
    case 2:
      return tree.file(fresh, bytesOf(seed), { ...attributes(seed), mode: S_IFREG | 0o4755 });
    case 3: {
      // Zeros at the end of blocks are not stored, whole blocks of zeros are holes.
      const content = bytesOf(seed);
      content.fill(0, 5000);
      return tree.file(fresh, content, {}, (index) => index === 0 ? 4097 : 0);
    }
    case 4:
      return tree.symlink(fresh, utf8("t".repeat(1 + seed % 300)), attributes(seed));
    case 5: {
      const mode = [S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK][seed % 4]! | 0o600;
      const device = mode & S_IFCHR && (mode & S_IFMT) !== S_IFSOCK;
      return tree.node(fresh, mode, { rdev: device ? 0x12345678 + seed : 0 });
    }
    case 6:
      if (isDirectory(tree.inodeAt(some)!.mode)) return;
      if (some.startsWith(`${fresh}/`)) return;
      return tree.link(some, fresh);
    case 7:
      if (some === "" || fresh.startsWith(`${some}/`) || some.startsWith(`${fresh}/`)) return;
      return tree.rename(some, fresh);
    case 8:
      return some === "" ? undefined : tree.remove(some);
    case 9:
      return tree.set(some, attributes(seed));
    default: {
      // The same file again under another inode: nothing to see, but for its links.
      const row = tree.inodeAt(some)!;
      if ((row.mode & S_IFMT) !== S_IFREG) return;
      return tree.file(parentPath(some) === "" ? some : fresh, bytesOf(seed));
    }
  }
}

const steps = fc.array(
  fc.array(fc.tuple(fc.nat(10), fc.nat(1000), fc.nat(1000), fc.nat(1000)), { maxLength: 14 }),
  { minLength: 1, maxLength: 4 },
);

/**
 * Random trees with random layers: exported, imported elsewhere, and exported again, they give equal
 * trees and equal bytes.
 *
 * @param fresh A store that has nothing yet; the caller ends it. Asked for twice a run.
 */
export async function checkRoundTrips(fresh: () => Promise<Store>, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(steps, async (layersOfSteps) => {
      const tree = await TreeFixture.on(await fresh());
      const layers: LayerRow[] = [];
      for (const [i, some] of layersOfSteps.entries()) {
        for (const step of some) apply(tree, step);
        layers.push(await tree.seal(`ckpt-${i + 1}`, `message ${i}`));
      }
      const archive = await exportBytes(tree.store, layers);
      const store = await fresh();
      const row = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
      const imported = await importImage(store, row, inChunks(archive, 70_001));
      assert.equal(imported.length, layers.length);
      for (const [i, layer] of layers.entries()) {
        assert.deepEqual(
          await describeTree(store, imported[i]!.point),
          await describeTree(tree.store, layer.point),
        );
        assert.equal(imported[i]!.name, layer.name);
        assert.equal(imported[i]!.message, layer.message);
        assert.equal(imported[i]!.createdAt.getTime(), layer.createdAt.getTime());
      }
      assert.ok(archive.toBase64() === (await exportBytes(store, imported)).toBase64());
    }),
    { numRuns, seed: 20261124 },
  );
}
