/** What is in files: holes, space, copies, mappings (man 2 fallocate, lseek, copy_file_range, mmap). */
import assert from "node:assert/strict";
import { EBADF, EINVAL, ENXIO, EOPNOTSUPP } from "../../src/base/errno.ts";
import { systemCalls } from "../random/system_calls.ts";
import type { PosixCheck } from "./check.ts";
import {
  copyRange,
  errnoOf,
  MAP_PRIVATE,
  MAP_SHARED,
  Mapping,
  seek,
  SEEK_DATA,
  SEEK_HOLE,
} from "./file_calls.ts";
import {
  close,
  fallocate,
  fstat,
  fsync,
  ftruncate,
  O_APPEND,
  O_CREAT,
  O_RDWR,
  open,
  put,
  read,
  rename,
  unlink,
  withOpen,
  write,
} from "./syscalls.ts";

const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const COLLAPSE_RANGE = 8;
const ZERO_RANGE = 16;
const INSERT_RANGE = 32;
const O_DIRECT = Deno.build.arch === "x86_64" ? 0o40000 : 0o200000;
const NEW = O_RDWR | O_CREAT;
const KIB = 1024;
const TIB = 2 ** 40;

/** Bytes without a period that a block could have. */
function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => 1 + ((i * 31 + (i >> 8) * 7 + seed) % 251));
}

function same(fd: number, offset: number, expected: Uint8Array): void {
  const got = read(fd, expected.length, offset);
  assert(got === String.fromCharCode(...expected), `other bytes at ${offset}`);
}

function zeros(fd: number, offset: number, length: number): void {
  assert(/^\0*$/.test(read(fd, length, offset)), `no zeros at ${offset}`);
}

export const DATA_CHECKS: readonly PosixCheck[] = [
  {
    name: "fallocate extends a file with zeros, or keeps its size",
    run(dir) {
      withOpen(`${dir}/f`, NEW, (fd) => {
        write(fd, "abc");
        fallocate(fd, KEEP_SIZE, 0, 100 * KIB);
        assert.equal(fstat(fd).size, 3);
        fallocate(fd, 0, 1, 100 * KIB);
        assert.equal(fstat(fd).size, 100 * KIB + 1);
        assert.equal(read(fd, 4, 0), "abc\0");
        zeros(fd, 3, 60_000);
      });
    },
  },
  {
    name: "punched holes and zeroed ranges read as zeros; what is around them stays",
    run(dir) {
      const data = pattern(60_000);
      for (const mode of [PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE]) {
        withOpen(`${dir}/f${mode}`, NEW, (fd) => {
          write(fd, data);
          fallocate(fd, mode, 5000, 20_000);
          assert.equal(fstat(fd).size, 60_000);
          same(fd, 0, data.subarray(0, 5000));
          zeros(fd, 5000, 20_000);
          same(fd, 25_000, data.subarray(25_000));
          fallocate(fd, mode, 59_000, 5000);
          assert.equal(fstat(fd).size, mode === ZERO_RANGE ? 64_000 : 60_000);
          zeros(fd, 59_000, 5000);
        });
      }
    },
  },
  {
    name: "a punched hole gives its space back",
    run(dir) {
      withOpen(`${dir}/f`, NEW, (fd) => {
        for (let at = 0; at < 1024; at += 64) write(fd, pattern(64 * KIB), at * KIB);
        fsync(fd);
        const before = fstat(fd).blocks;
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 256 * KIB, 512 * KIB);
        assert.equal(before - fstat(fd).blocks, 1024);
      });
    },
  },
  {
    name: "collapsing and inserting a range is done, or refused with EOPNOTSUPP",
    run(dir) {
      for (const mode of [COLLAPSE_RANGE, INSERT_RANGE]) {
        withOpen(`${dir}/f${mode}`, NEW, (fd) => {
          const data = pattern(60_000);
          write(fd, data);
          fsync(fd);
          const errno = errnoOf(() => systemCalls.fallocate(fd, mode, 8192, 4096));
          if (errno === EOPNOTSUPP) {
            same(fd, 0, data);
            return;
          }
          assert.equal(errno, 0);
          same(fd, 0, data.subarray(0, 8192));
          if (mode === COLLAPSE_RANGE) same(fd, 8192, data.subarray(12_288));
          else same(fd, 12_288, data.subarray(8192));
        });
      }
    },
  },
  {
    name: "a file of many terabytes costs what is written into it",
    run(dir) {
      withOpen(`${dir}/f`, NEW, (fd) => {
        ftruncate(fd, 12 * TIB);
        write(fd, "middle", 6 * TIB);
        write(fd, "end", 12 * TIB - 3);
        assert.equal(fstat(fd).size, 12 * TIB);
        assert(fstat(fd).blocks * 512 < 1024 * KIB);
        assert.equal(read(fd, 6, 6 * TIB), "middle");
        zeros(fd, 3 * TIB, 1000);
        const data = seek(fd, 1, SEEK_DATA);
        assert(data <= 6 * TIB && data > 6 * TIB - 1024 * KIB);
        ftruncate(fd, 5);
        assert.equal(fstat(fd).size, 5);
      });
    },
  },
  {
    name: "SEEK_DATA and SEEK_HOLE lead from data to data; the end is a hole",
    run(dir) {
      withOpen(`${dir}/f`, NEW, (fd) => {
        write(fd, pattern(64 * KIB), 1024 * KIB);
        ftruncate(fd, 4096 * KIB);
        const data = seek(fd, 0, SEEK_DATA);
        assert(data > 0 && data <= 1024 * KIB);
        const hole = seek(fd, data, SEEK_HOLE);
        assert(hole >= 1088 * KIB && hole < 4096 * KIB);
        assert.equal(seek(fd, 0, SEEK_HOLE), 0);
        assert.equal(errnoOf(() => seek(fd, hole, SEEK_DATA)), ENXIO);
        assert.equal(errnoOf(() => seek(fd, 4096 * KIB, SEEK_HOLE)), ENXIO);
        write(fd, "x", 4096 * KIB - 1);
        assert.equal(seek(fd, 4096 * KIB - 1, SEEK_HOLE), 4096 * KIB);
      });
    },
  },
  {
    name: "copy_file_range copies at any offsets, also in one file, up to the end of the source",
    run(dir) {
      const data = pattern(60_000);
      put(`${dir}/source`, data);
      withOpen(`${dir}/source`, O_RDWR, (from) =>
        withOpen(`${dir}/target`, NEW, (to) => {
          assert.equal(copyRange(from, 17, to, 3001, 20_000), 20_000);
          zeros(to, 0, 3001);
          same(to, 3001, data.subarray(17, 20_017));
          assert.equal(copyRange(from, 59_000, to, 0, 20_000), 1000);
          assert.equal(copyRange(from, 60_000, to, 0, 1), 0);
          assert.equal(copyRange(from, 0, from, 30_001, 29_999), 29_999);
          same(from, 30_001, data.subarray(0, 29_999));
          assert.equal(errnoOf(() => copyRange(from, 0, from, 100, 1000)), EINVAL);
          withOpen(`${dir}/target`, O_RDWR | O_APPEND, (append) =>
            assert.equal(
              errnoOf(() => copyRange(from, 0, append, 0, 1)),
              EBADF,
            ));
        }));
    },
  },
  {
    name: "a copy does not change with its source",
    run(dir) {
      const data = pattern(60_000);
      put(`${dir}/source`, data);
      withOpen(`${dir}/source`, O_RDWR, (from) =>
        withOpen(`${dir}/target`, NEW, (to) => {
          copyRange(from, 0, to, 0, 60_000);
          write(from, "changed", 100);
          same(to, 0, data);
          write(to, "other", 50_000);
          same(from, 50_000, data.subarray(50_000));
        }));
    },
  },
  {
    name: "a shared mapping and read and write see each other at once",
    run(dir) {
      withOpen(`${dir}/f`, NEW, (fd) => {
        write(fd, pattern(12 * KIB));
        const shared = new Mapping(12 * KIB, MAP_SHARED, fd);
        shared.bytes.set([65, 66, 67], 5000);
        assert.equal(read(fd, 3, 5000), "ABC");
        write(fd, "xyz", 9000);
        assert.deepEqual([...shared.bytes.subarray(9000, 9003)], [120, 121, 122]);
        shared.bytes[12 * KIB - 1] = 33;
        shared.sync();
        shared.unmap();
        assert.equal(read(fd, 10, 12 * KIB - 1), "!");
      });
      withOpen(`${dir}/f`, O_RDWR, (fd) => assert.equal(read(fd, 3, 5000), "ABC"));
    },
  },
  {
    name: "what is written into a private mapping stays there",
    run(dir) {
      withOpen(`${dir}/f`, NEW, (fd) => {
        write(fd, "original");
        const mapped = new Mapping(4096, MAP_PRIVATE, fd);
        mapped.bytes.set([65, 66, 67]);
        assert.equal(read(fd, 8, 0), "original");
        assert.deepEqual([...mapped.bytes.subarray(0, 3)], [65, 66, 67]);
        mapped.unmap();
      });
    },
  },
  {
    name: "beyond the end of a file a mapping shows zeros and keeps nothing",
    run(dir) {
      withOpen(`${dir}/f`, NEW, (fd) => {
        write(fd, "abc");
        const mapped = new Mapping(4096, MAP_SHARED, fd);
        assert.equal(mapped.bytes[3], 0);
        mapped.bytes[100] = 7;
        mapped.sync();
        mapped.unmap();
        assert.equal(fstat(fd).size, 3);
        ftruncate(fd, 200);
        zeros(fd, 3, 197);
      });
    },
  },
  {
    name: "every write of O_APPEND goes to the end, whoever wrote before",
    run(dir) {
      withOpen(
        `${dir}/f`,
        NEW | O_APPEND,
        (one) =>
          withOpen(`${dir}/f`, O_RDWR | O_APPEND, (other) => {
            for (let i = 0; i < 5; i++) {
              write(one, "a");
              write(other, "b", 0);
            }
            assert.equal(read(one, 20, 0), "ababababab");
          }),
      );
    },
  },
  {
    name: "direct and ordinary I/O show the same bytes",
    run(dir) {
      withOpen(`${dir}/f`, NEW, (fd) => {
        write(fd, pattern(64 * KIB, 1));
        fsync(fd);
        withOpen(`${dir}/f`, O_RDWR | O_DIRECT, (direct) => {
          const memory = new Mapping(8192, 0, -1);
          assert.equal(memory.read(direct, 4096), 8192);
          assert.deepEqual(memory.bytes, pattern(64 * KIB, 1).subarray(4096, 12_288));
          memory.bytes.fill(90);
          assert.equal(memory.write(direct, 16_384), 8192);
          same(fd, 16_384, new Uint8Array(8192).fill(90));
          same(fd, 24_576, pattern(64 * KIB, 1).subarray(24_576, 50_000));
          memory.unmap();
        });
      });
    },
  },
  {
    name: "a file that is open lives on without a name",
    run(dir) {
      const fd = open(`${dir}/f`, NEW);
      write(fd, "before");
      unlink(`${dir}/f`);
      put(`${dir}/f`, "another");
      assert.equal(fstat(fd).nlink, 0);
      write(fd, "after", 100_000);
      assert.equal(read(fd, 6, 0), "before");
      assert.equal(read(fd, 5, 100_000), "after");
      ftruncate(fd, 3);
      assert.equal(read(fd, 10, 0), "bef");
      close(fd);
      assert.deepEqual([...Deno.readDirSync(dir)].map(({ name }) => name), ["f"]);
    },
  },
  {
    name: "a listing comes to its end while every name it shows is renamed",
    run(dir) {
      for (let i = 0; i < 300; i++) put(`${dir}/f-${i}`);
      const fd = systemCalls.open(dir, 0o200000, 0);
      let shown = 0;
      for (;;) {
        const entries = systemCalls.getdents(fd, 1000).filter(({ name }) => name.startsWith("f-"));
        if (entries.length === 0 && shown > 0) break;
        for (const { name } of entries) {
          shown++;
          rename(`${dir}/${name}`, `${dir}/temporary`);
          rename(`${dir}/temporary`, `${dir}/${name}`);
        }
        assert(shown < 3000, "the listing has no end");
      }
      systemCalls.close(fd);
      assert(shown >= 300);
    },
  },
  {
    name: "a listing shows once what stays, while other names come and go",
    run(dir) {
      for (let i = 0; i < 3000; i++) put(`${dir}/stays-${i}`);
      for (let i = 0; i < 500; i++) put(`${dir}/goes-${i}`);
      const fd = systemCalls.open(dir, 0o200000, 0);
      const seen = new Map<string, number>();
      for (let turn = 0;; turn++) {
        const entries = systemCalls.getdents(fd, 8192);
        if (entries.length === 0) break;
        for (const { name } of entries) seen.set(name, (seen.get(name) ?? 0) + 1);
        if (turn < 40) {
          put(`${dir}/comes-${turn}`);
          for (let i = 0; i < 10; i++) unlink(`${dir}/goes-${10 * turn + i}`);
        }
      }
      systemCalls.close(fd);
      for (let i = 0; i < 3000; i++) assert.equal(seen.get(`stays-${i}`), 1, `stays-${i}`);
    },
  },
];
