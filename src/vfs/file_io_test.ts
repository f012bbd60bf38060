import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { hex } from "../base/bytes.ts";
import { EFBIG, EINVAL, ENXIO, EOPNOTSUPP } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { BLOCK_SIZE, type BlockRow } from "../store/rows.ts";
import { MAX_SIZE, World } from "../../tests/vfs/file_world.ts";
import { FileData } from "./file_data.ts";
import {
  allocateFile,
  copyFile,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  SEEK_DATA,
  SEEK_HOLE,
  seekFile,
  truncateFile,
  writeFile,
} from "./file_io.ts";

function pattern(seed: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = (seed * 31 + i * 7 + (i >> 8)) & 0xff;
  return out;
}

function fails(errno: number, operation: () => unknown): void {
  assert.throws(operation, (error) => error instanceof FsError && error.errno === errno);
}

/** Offsets close to block and page borders, where mistakes live. */
const offsets = fc.tuple(
  fc.integer({ min: 0, max: 3 }),
  fc.constantFrom(0, 0, 0, 1, 4095, 4096, 70000, BLOCK_SIZE - 1),
).map(([block, within]) => block * BLOCK_SIZE + within);
const lengths = fc.constantFrom(1, 100, 4096, 65536, BLOCK_SIZE, BLOCK_SIZE + 1, 2 * BLOCK_SIZE);
const which = fc.integer({ min: 0, max: 1 });

const steps = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("write"), which, offsets, lengths, fc.nat(255)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("truncate"), which, offsets) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("punch"), which, offsets, lengths) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("zero"), which, offsets, lengths) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("extend"), which, offsets, lengths) },
  { weight: 4, arbitrary: fc.tuple(fc.constant("copy"), which, offsets, lengths, which, offsets) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("read"), which, offsets, lengths) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom("collect", "settle", "forget")) },
) as fc.Arbitrary<[string, ...number[]]>;

/** The plain model of a file: its bytes. */
function apply(world: World, model: Uint8Array[], step: [string, ...number[]]): void {
  const [kind, index = 0, offset = 0, length = 0, extra = 0, extra2 = 0] = step;
  const open = world.files[index]!;
  const bytes = model[index]!;
  const grown = (size: number) => {
    const out = new Uint8Array(Math.max(size, model[index]!.length));
    out.set(model[index]!);
    return out;
  };
  switch (kind) {
    case "write": {
      const data = pattern(extra, length);
      world.run(() => writeFile(world, open, offset, data));
      model[index] = grown(offset + length);
      model[index].set(data, offset);
      data.fill(0xee);
      return;
    }
    case "truncate":
      world.run(() => truncateFile(world, open, offset));
      model[index] = grown(offset).slice(0, offset);
      return;
    case "punch":
      world.run(() =>
        allocateFile(world, open, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
      );
      bytes.fill(0, offset, offset + length);
      return;
    case "zero":
      world.run(() => allocateFile(world, open, FALLOC_FL_ZERO_RANGE, offset, length));
      model[index] = grown(offset + length);
      model[index].fill(0, offset, offset + length);
      return;
    case "extend":
      world.run(() => allocateFile(world, open, 0, offset, length));
      model[index] = grown(offset + length);
      return;
    case "copy": {
      // extra: the target; extra2: its offset.
      const total = Math.max(0, Math.min(length, bytes.length - offset));
      const copy = () =>
        world.run(() => copyFile(world, open, offset, world.files[extra]!, extra2, length));
      if (index === extra && Math.abs(offset - extra2) < total) return fails(EINVAL, copy);
      assert.equal(copy(), total);
      if (total === 0) return;
      const moved = bytes.slice(offset, offset + total);
      const target = new Uint8Array(Math.max(model[extra]!.length, extra2 + total));
      target.set(model[extra]!);
      target.set(moved, extra2);
      model[extra] = target;
      return;
    }
    case "read":
      same(world.read(index, offset, length), bytes.slice(offset, offset + length));
      return;
    case "collect":
      return world.collect();
    case "settle":
      return world.settle();
    case "forget":
      return world.forget();
  }
}

function same(actual: Uint8Array, expected: Uint8Array): void {
  assert(Buffer.compare(actual, expected) === 0, "the bytes differ");
}

/** Data and holes cover the file in turns, and nothing but zeros is in the holes. */
function checkHoles(world: World, index: number, bytes: Uint8Array): void {
  const open = world.files[index]!;
  let at = 0;
  while (at < bytes.length) {
    let data = bytes.length;
    try {
      data = world.run(() => seekFile(open, at, SEEK_DATA));
    } catch (error) {
      assert(error instanceof FsError && error.errno === ENXIO);
    }
    assert(bytes.subarray(at, data).every((byte) => byte === 0), "data in a hole");
    if (data === bytes.length) return;
    at = world.run(() => seekFile(open, data, SEEK_HOLE));
    assert(at > data);
  }
}

Deno.test("files behave as plain bytes, whatever is cut, settled and forgotten in between", () => {
  fc.assert(
    fc.property(
      fc.array(steps, { minLength: 1, maxLength: 25 }),
      fc.constantFrom(0, 3 * BLOCK_SIZE, 100 * BLOCK_SIZE),
      (program, cacheBytes) => {
        const world = new World(2, cacheBytes);
        const model = [new Uint8Array(0), new Uint8Array(0)];
        for (const step of program) {
          apply(world, model, step);
          world.check();
        }
        world.settle();
        world.collect();
        world.settle();
        world.forget();
        for (const [i, bytes] of model.entries()) {
          assert.equal(world.files[i]!.row.size, bytes.length);
          same(world.read(i, 0, MAX_SIZE), bytes);
          checkHoles(world, i, bytes);
        }
        world.check();
      },
    ),
    { numRuns: 120 },
  );
});

Deno.test("whole blocks are overwritten without loading, parts of blocks are not", () => {
  const world = new World(1, 0);
  const open = world.files[0]!;
  world.run(() => writeFile(world, open, 0, pattern(1, 2 * BLOCK_SIZE)));
  world.collect();
  world.settle();
  world.run(() => writeFile(world, open, 0, pattern(2, BLOCK_SIZE)));
  assert.equal(world.loads, 0);
  world.run(() => writeFile(world, open, BLOCK_SIZE + 5, pattern(3, 10)));
  assert.equal(world.loads, 1);
});

Deno.test("a copy of whole blocks stores no content again", () => {
  const world = new World(2, 0);
  const [source, target] = [world.files[0]!, world.files[1]!];
  const size = 2 * BLOCK_SIZE + 77;
  world.run(() => writeFile(world, source, 0, pattern(1, size)));
  world.collect();
  world.settle();
  assert.equal(world.run(() => copyFile(world, source, 0, target, 0, size)), size);
  assert.equal(world.loads, 0);
  assert.equal(world.pool.dirtyBytes, 0);
  world.collect();
  assert.equal(world.inFlight!.contents.length, 0);
  assert.equal(world.inFlight!.blocks.length, 3);
  world.settle();
  same(world.read(1, 0, size), pattern(1, size));
});

Deno.test("a content comes with every batch that writes it, once in each", () => {
  const world = new World(2, 0);
  const [one, other] = [world.files[0]!, world.files[1]!];
  for (let batch = 0; batch < 2; batch++) {
    world.run(() => writeFile(world, one, 0, pattern(1, BLOCK_SIZE)));
    world.run(() => writeFile(world, other, 0, pattern(1, BLOCK_SIZE)));
    world.collect();
    assert.equal(world.inFlight!.contents.length, 1);
    assert.equal(world.inFlight!.blocks.length, 2);
    world.settle();
  }
});

Deno.test("a copy of a dirty block is changed apart from it", () => {
  const world = new World(2, 0);
  const [source, target] = [world.files[0]!, world.files[1]!];
  world.run(() => writeFile(world, source, 0, pattern(1, BLOCK_SIZE)));
  world.run(() => copyFile(world, source, 0, target, 0, BLOCK_SIZE));
  world.run(() => writeFile(world, source, 5, pattern(2, 10)));
  same(world.read(1, 0, BLOCK_SIZE), pattern(1, BLOCK_SIZE));
  world.check();
});

Deno.test("a copy within a file that writes into its last block copies what was there", () => {
  const world = new World(1, 0);
  const open = world.files[0]!;
  const [size, offset, shift] = [2 * BLOCK_SIZE + 4096, BLOCK_SIZE + 70000, BLOCK_SIZE];
  const bytes = pattern(3, size);
  world.run(() => writeFile(world, open, 0, bytes));
  world.run(() => copyFile(world, open, offset, open, offset + shift, size - offset));
  same(world.read(0, offset + shift, size), bytes.subarray(offset));
  world.check();
});

Deno.test("a sequential reader asks for twice as many blocks ahead each time", () => {
  const world = new World(1, 400 * BLOCK_SIZE);
  const open = world.files[0]!;
  const rows: BlockRow[] = [];
  for (let index = 0; index < 128; index++) {
    const data = new Uint8Array([index]);
    const hash = new Uint8Array(createHash("sha256").update(data).digest());
    world.contents.set(hex(hash), data);
    rows.push({ inode: 2, index, hash, length: 1 });
  }
  open.file = new FileData(2, world.pool, false);
  open.file.absorb(rows);
  open.row = { ...open.row, size: 128 * BLOCK_SIZE };
  for (let index = 0; index < 128; index++) world.read(0, index * BLOCK_SIZE, BLOCK_SIZE);
  // 1 + 1, 1 + 2, 1 + 4 … then 1 + 32 a time.
  assert.equal(world.loads, 8);
});

Deno.test("a file that is removed leaves nothing dirty and nothing to emit", () => {
  const world = new World(1, 0);
  const open = world.files[0]!;
  world.run(() => writeFile(world, open, 0, pattern(1, 1000)));
  assert.equal(world.pool.dirtyBytes, 4096);
  open.file.discard();
  assert.equal(world.pool.dirtyBytes, 0);
  world.collect();
  assert.deepEqual(world.inFlight, { blocks: [], deadBlocks: [], contents: [] });
});

Deno.test("what is refused changes nothing", () => {
  const world = new World(1, 0);
  const open = world.files[0]!;
  world.run(() => writeFile(world, open, 0, pattern(1, 10)));
  const before = open.row;
  fails(EFBIG, () => writeFile(world, open, MAX_SIZE, pattern(2, 2)));
  fails(EFBIG, () => copyFile(world, open, 0, open, MAX_SIZE, 1));
  fails(EFBIG, () => truncateFile(world, open, MAX_SIZE + 1));
  fails(EFBIG, () => allocateFile(world, open, 0, MAX_SIZE, 1));
  fails(EINVAL, () => allocateFile(world, open, 0, 0, 0));
  fails(EOPNOTSUPP, () => allocateFile(world, open, FALLOC_FL_PUNCH_HOLE, 0, 1));
  fails(EOPNOTSUPP, () => allocateFile(world, open, 8, 0, BLOCK_SIZE));
  fails(ENXIO, () => seekFile(open, 10, SEEK_HOLE));
  fails(EINVAL, () => seekFile(open, 0, 0));
  assert.equal(open.row, before);
  same(world.read(0, 0, 100), pattern(1, 10));
});

Deno.test("what reaches beyond the size that files may have is written up to there", () => {
  const world = new World(1, 0);
  const open = world.files[0]!;
  assert.equal(world.run(() => writeFile(world, open, MAX_SIZE - 3, pattern(1, 10))), 3);
  assert.equal(open.row.size, MAX_SIZE);
  assert.equal(world.run(() => copyFile(world, open, MAX_SIZE - 3, open, MAX_SIZE - 5, 2)), 2);
  assert.equal(world.run(() => copyFile(world, open, 0, open, MAX_SIZE - 2, 100)), 2);
  assert.equal(open.row.size, MAX_SIZE);
});
