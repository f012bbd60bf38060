/**
 * Damaged and rearranged archives: each is refused with nothing added, or gives a sound tree; one
 * whose digests vouch for it gives the very tree. TARBOX_MUTATIONS says how many (`deno task
 * soak:images`: 10,000); TARBOX_SEED repeats a run.
 */
import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { S_IFIFO } from "../../src/base/modes.ts";
import { checkState } from "../../src/layer/check.ts";
import { image } from "../../src/oci/image_fixture.ts";
import { IMPORT_DEFAULTS, importImage } from "../../src/oci/import.ts";
import { padding, RECORD } from "../../src/oci/tar_entry.ts";
import { readTar } from "../../src/oci/tar_reader.ts";
import { END_MARK } from "../../src/oci/tar_writer.ts";
import { describeTree, exportBytes, inChunks, TreeFixture } from "../../src/oci/tree_fixture.ts";
import { memoryStore } from "../../src/store/memory/store.ts";
import { packXattrs } from "../../src/store/xattrs.ts";

const MUTATIONS = Number(Deno.env.get("TARBOX_MUTATIONS") ?? 400);
const SEED = Number(Deno.env.get("TARBOX_SEED") ?? 20260115);

/** Milliseconds after which an import counts as hung. */
const HANG_MS = 60_000;

let seed = SEED;
function random(below: number): number {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return Math.floor(seed / 2 ** 31 * below);
}

function flipped(bytes: Uint8Array, flips: number): Uint8Array {
  const out = bytes.slice();
  for (let i = 0; i < flips; i++) out[random(out.length)]! ^= 1 << random(8);
  return out;
}

/** The members of a tar with their headers and paddings. */
async function membersOf(tar: Uint8Array): Promise<Uint8Array[]> {
  const out: Uint8Array[] = [];
  let start = 0;
  for await (const { entry, offset } of readTar(inChunks(tar), { name: "it", endMark: true })) {
    const end = offset + entry.size + padding(entry.size);
    out.push(tar.subarray(start, end));
    start = end;
  }
  return out;
}

function shuffled<T>(items: readonly T[]): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

const tarOf = (members: readonly Uint8Array[]) => concatBytes([...members, END_MARK]);

async function layers() {
  const tree = await TreeFixture.on(memoryStore());
  tree.mkdir("d");
  tree.mkdir("d/e", { xattrs: packXattrs([{ name: utf8("user.a"), value: utf8("b") }]) });
  tree.file("d/f", utf8("content\n".repeat(300)), { uid: 3_000_000 });
  tree.file("d/e/" + "n".repeat(200), new Uint8Array(200_000), {}, (i) => i === 0 ? 7 : 0);
  tree.link("d/f", "d/g");
  tree.node("fifo", S_IFIFO | 0o600);
  const sealed = [await tree.seal("one")];
  tree.remove("d/f");
  tree.remove("d/e");
  tree.symlink("s", utf8("d/g"), { mtime: -1_500_000_000n });
  sealed.push(await tree.seal("two"));
  return { tree, sealed };
}

/** Imports an archive; null when it was refused as it must be. */
async function take(bytes: Uint8Array, name: string | null) {
  const store = memoryStore();
  const row = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const hung = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the import hangs")), HANG_MS);
  });
  try {
    const work = importImage(store, row, inChunks(bytes), { ...IMPORT_DEFAULTS, name });
    return { store, layers: await Promise.race([work, hung]) };
  } catch (error) {
    assert.ok(error instanceof Error && error.name === "TarboxError", String(error));
    assert.deepEqual(await store.layers(), []);
    return null;
  } finally {
    clearTimeout(timer);
  }
}

Deno.test(`${MUTATIONS} damaged and rearranged archives: refused, or sound`, async () => {
  const { tree, sealed } = await layers();
  const expected = await Promise.all(sealed.map(({ point }) => describeTree(tree.store, point)));
  const archives = new Map<string, Uint8Array>();
  for (const compression of ["stored", "gzip", "zstd", "none"] as const) {
    archives.set(compression, await exportBytes(tree.store, sealed, { compression }));
  }
  const kinds = [...archives.keys()];
  const tars = await Promise.all(
    [0, 1].map((i) =>
      exportBytes(tree.store, sealed.slice(0, i + 1), { format: "layer", compression: "none" })
    ),
  );
  const [plain] = tars;
  const packs = [(bytes: Uint8Array) => bytes, gzipSync, zstdCompressSync];
  /** An image whose digests fit, of layers that are not what an export writes. */
  const resealed = (changed: Uint8Array) => {
    const at = random(2);
    return image({
      layers: tars.map((tar, i) => i === at ? changed : tar),
      pack: packs[random(3)]!,
    });
  };
  const counts = new Map<string, [taken: number, refused: number]>();
  for (let n = 0; n < MUTATIONS; n++) {
    const archive = archives.get(kinds[n % kinds.length]!)!;
    const tar = tars[random(2)]!;
    const mutation = random(9);
    let bytes: Uint8Array;
    let name: string | null = null;
    /** Whether digests vouch for the tree. */
    let exact = true;
    switch (mutation) {
      case 0:
        bytes = flipped(archive, 1 + random(3));
        break;
      case 1:
        bytes = archive.subarray(0, random(archive.length));
        break;
      case 2:
        bytes = tarOf(shuffled(await membersOf(archive)));
        break;
      case 3: {
        const members = await membersOf(archive);
        bytes = tarOf([...members, members[random(members.length)]!]);
        break;
      }
      case 4: {
        // A piece of the archive in another place.
        const [from, to] = [random(archive.length), random(archive.length)];
        bytes = archive.slice();
        bytes.set(archive.subarray(from, from + Math.min(4 * RECORD, archive.length - to)), to);
        break;
      }
      case 5:
        bytes = resealed(flipped(tar, 1 + random(2)));
        exact = false;
        break;
      case 6: {
        const members = await membersOf(tar);
        bytes = resealed(tarOf(shuffled([...members, members[random(members.length)]!])));
        exact = false;
        break;
      }
      case 7:
        bytes = resealed(tar.subarray(0, random(tar.length)));
        exact = false;
        break;
      default:
        bytes = flipped(plain!, 1 + random(2));
        name = "plain";
        exact = false;
    }
    const what = `seed ${SEED}, number ${n}, mutation ${mutation}`;
    const taken = await take(bytes, name).catch((error) => {
      throw new Error(`${what}: ${error.message}`, { cause: error });
    });
    const count = counts.get(String(mutation)) ?? [0, 0];
    counts.set(
      String(mutation),
      taken === null ? [count[0], count[1] + 1] : [count[0] + 1, count[1]],
    );
    if (taken === null) continue;
    if (exact) {
      const trees = taken.layers.map(({ point }) => describeTree(taken.store, point));
      assert.deepEqual(await Promise.all(trees), expected, what);
    } else {
      for (const { point } of taken.layers) {
        const { violations } = await checkState(taken.store, point);
        assert.deepEqual(violations, [], what);
      }
    }
  }
  // Members of an archive come in any order; one that is there twice must not.
  const [reordered, unordered] = counts.get("2")!;
  assert.ok(reordered > 0 && unordered === 0, "members in another order were refused");
  const [truncated] = counts.get("1")!;
  assert.equal(truncated, 0, "an archive that was cut short was taken");
});
