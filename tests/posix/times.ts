/** Times: which operation marks which, their range and their fineness (POSIX 4.12, man 2 utimensat). */
import assert from "node:assert/strict";
import type { PosixCheck } from "./check.ts";
import {
  AT_SYMLINK_NOFOLLOW,
  chmod,
  chown,
  close,
  content,
  link,
  mkdir,
  mknod,
  O_CREAT,
  O_NOATIME,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  open,
  put,
  read,
  readlink,
  removexattr,
  rename,
  rmdir,
  S_IFIFO,
  setxattr,
  stat,
  symlink,
  type Time,
  truncate,
  unlink,
  utimens,
  withOpen,
  write,
} from "./syscalls.ts";

const SECOND = 1_000_000_000n;

/** Longer than the grain of the kernel's clock, so that a second change has another time. */
function tick(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 12);
}

/** Which of `m`time and `c`time of these inodes a change marks, as `"mc c -"`. */
function marked(paths: readonly string[], change: () => void): string {
  const before = paths.map((path) => stat(path));
  tick();
  change();
  return before.map(({ mtime, ctime, inode }, i) => {
    const after = stat(paths[i]!);
    assert.equal(after.inode, inode);
    assert.ok(after.mtime >= mtime && after.ctime >= ctime);
    return (after.mtime > mtime ? "m" : "") + (after.ctime > ctime ? "c" : "") || "-";
  }).join(" ");
}

export const TIME_CHECKS: readonly PosixCheck[] = [
  {
    name: "a new inode's four times are one and the same, and between before and after",
    run(dir) {
      const makers: ((path: string) => void)[] = [
        (path) => close(open(path, O_CREAT | O_WRONLY)),
        (path) => mkdir(path),
        (path) => symlink("x", path),
        (path) => mknod(path, S_IFIFO | 0o644),
      ];
      makers.forEach((make, i) => {
        // The kernel's clock for files is coarse: it may lag behind by a few milliseconds.
        const before = BigInt(Date.now() - 50) * 1_000_000n;
        make(`${dir}/${i}`);
        const { atime, mtime, ctime, btime } = stat(`${dir}/${i}`);
        assert.ok(atime === mtime && mtime === ctime && ctime === btime);
        assert.ok(ctime >= before && ctime <= BigInt(Date.now() + 1) * 1_000_000n);
      });
    },
  },
  {
    name: "what changes a directory marks its mtime and ctime, and the ctime of what is named",
    run(dir) {
      const d = `${dir}/d`;
      mkdir(d);
      mkdir(`${dir}/e`);
      put(`${dir}/f`);
      assert.equal(marked([d], () => put(`${d}/x`)), "mc");
      assert.equal(marked([d], () => mkdir(`${d}/sub`)), "mc");
      assert.equal(marked([d], () => symlink("x", `${d}/l`)), "mc");
      assert.equal(marked([d], () => mknod(`${d}/p`, S_IFIFO | 0o600)), "mc");
      assert.equal(marked([d, `${dir}/f`], () => link(`${dir}/f`, `${d}/f`)), "mc c");
      assert.equal(marked([d, `${dir}/f`], () => unlink(`${d}/f`)), "mc c");
      assert.equal(marked([d], () => rmdir(`${d}/sub`)), "mc");
      assert.equal(marked([d, `${dir}/e`], () => rename(`${d}/x`, `${dir}/e/x`)), "mc mc");
      withOpen(`${dir}/e/x`, 0, () => {
        const before = stat(`${dir}/e/x`).ctime;
        tick();
        rename(`${dir}/e/x`, `${dir}/e/y`);
        assert.ok(stat(`${dir}/e/y`).ctime > before);
      });
      assert.equal(marked([d], () => put(`${d}/l`)), "mc", "the link's target is made in there");
      assert.equal(marked([d], () => put(`${d}/x`)), "-");
    },
  },
  {
    name: "writing marks mtime and ctime; changing what is said of a file its ctime",
    run(dir) {
      const f = `${dir}/f`;
      put(f, "content");
      withOpen(f, O_RDWR, (fd) => {
        assert.equal(marked([f], () => void write(fd, "x")), "mc");
        assert.equal(marked([f], () => void write(fd, "")), "-");
        assert.equal(marked([f], () => void read(fd, 3)), "-");
      });
      assert.equal(marked([f], () => truncate(f, 3)), "mc");
      assert.equal(marked([f], () => truncate(f, 3)), "mc");
      assert.equal(marked([f], () => close(open(f, O_WRONLY))), "-");
      assert.equal(marked([f], () => close(open(f, O_WRONLY | O_TRUNC))), "mc");
      assert.equal(marked([f], () => chmod(f, 0o600)), "c");
      assert.equal(marked([f], () => chmod(f, 0o600)), "c");
      assert.equal(marked([f], () => chown(f, 1, 1)), "c");
      assert.equal(marked([f], () => setxattr(f, "user.x", "y")), "c");
      assert.equal(marked([f], () => removexattr(f, "user.x")), "c");
      assert.equal(marked([f], () => utimens(f, "now", "omit")), "c");
      assert.equal(marked([f], () => utimens(f, "omit", "now")), "mc");
      assert.equal(marked([f], () => utimens(f, "omit", "omit")), "-");
      assert.equal(marked([f], () => void stat(f)), "-");
    },
  },
  {
    name: "times are kept to the nanosecond, before 1970 and after 2038",
    run(dir) {
      put(`${dir}/f`);
      symlink("f", `${dir}/l`);
      mkdir(`${dir}/d`);
      const times: Exclude<Time, string>[] = [
        { s: 0, ns: 1 },
        { s: 1, ns: 999_999_999 },
        { s: -1, ns: 999_999_999 },
        { s: -1, ns: 0 },
        { s: -(2n ** 31n), ns: 0 },
        { s: 2n ** 31n - 1n, ns: 999_999_999 },
        { s: 2n ** 31n, ns: 123_456_789 },
        { s: 2n ** 32n + 5n, ns: 7 },
        { s: 9_223_372_035n, ns: 999_999_999 },
      ];
      for (const name of ["f", "l", "d"]) {
        for (const [i, mtime] of times.entries()) {
          const atime = times[(i + 1) % times.length]!;
          utimens(`${dir}/${name}`, atime, mtime);
          const told = stat(`${dir}/${name}`);
          assert.equal(told.mtime, BigInt(mtime.s) * SECOND + BigInt(mtime.ns));
          assert.equal(told.atime, BigInt(atime.s) * SECOND + BigInt(atime.ns));
        }
      }
    },
  },
  {
    name: "a time that cannot be kept becomes the nearest that can, without a fraction",
    run(dir) {
      put(`${dir}/f`);
      for (const s of [2n ** 40n, 2n ** 62n, -(2n ** 40n), -(2n ** 62n)]) {
        utimens(`${dir}/f`, { s, ns: 5 }, { s, ns: 999_999_999 });
        const { atime, mtime } = stat(`${dir}/f`);
        assert.equal(atime, mtime);
        assert.equal(atime % SECOND, 0n);
        assert.equal(atime < 0n, s < 0n);
        // ext4 reaches from 1901 to 2446, 64 bits of nanoseconds from 1677 to 2262.
        assert.ok(s < 0n ? atime <= -(2n ** 31n) * SECOND : atime >= 9_223_372_036n * SECOND);
      }
    },
  },
  {
    name: "relatime: a read marks atime once after each change, O_NOATIME never",
    run(dir) {
      const f = `${dir}/f`;
      put(f, "content");
      const old = stat(f).atime;
      tick();
      withOpen(f, O_NOATIME, (fd) => assert.equal(read(fd, 9), "content"));
      assert.equal(stat(f).atime, old);
      withOpen(f, 0, () => {});
      assert.equal(stat(f).atime, old, "opening is not reading");
      content(f);
      const first = stat(f).atime;
      assert.ok(first > old);
      tick();
      content(f);
      assert.equal(stat(f).atime, first);
      tick();
      withOpen(f, O_WRONLY, (fd) => void write(fd, "changed"));
      assert.equal(stat(f).atime, first);
      content(f);
      const second = stat(f).atime;
      assert.ok(second > first);
      tick();
      chmod(f, 0o600);
      content(f);
      assert.ok(stat(f).atime > second);
      utimens(f, { s: 5, ns: 0 }, { s: 1, ns: 0 });
      // More than a day old: a read counts although nothing was changed since.
      content(f);
      assert.ok(stat(f).atime > second);
    },
  },
  {
    name: "relatime: reading marks no other time",
    run(dir) {
      const f = `${dir}/f`;
      put(f, "content");
      const before = stat(f);
      tick();
      content(f);
      const after = stat(f);
      assert.ok(after.atime > before.atime);
      assert.deepEqual([after.mtime, after.ctime], [before.mtime, before.ctime]);
    },
  },
  {
    name: "relatime: listing a directory and reading a link mark their atime",
    run(dir) {
      mkdir(`${dir}/d`);
      put(`${dir}/d/f`);
      symlink("target", `${dir}/l`);
      const [directory, target] = [stat(`${dir}/d`).atime, stat(`${dir}/l`).atime];
      tick();
      void [...Deno.readDirSync(`${dir}/d`)];
      readlink(`${dir}/l`);
      assert.ok(stat(`${dir}/d`).atime > directory);
      assert.ok(stat(`${dir}/l`).atime > target);
    },
  },
  {
    name: "lutimes: the times of a link are its own",
    run(dir) {
      put(`${dir}/f`);
      symlink("f", `${dir}/l`);
      const before = stat(`${dir}/f`);
      utimens(`${dir}/l`, { s: 3, ns: 4 }, { s: 5, ns: 6 });
      assert.equal(stat(`${dir}/l`).mtime, 5n * SECOND + 6n);
      assert.deepEqual(stat(`${dir}/f`), before);
      chown(`${dir}/l`, 5, 5, AT_SYMLINK_NOFOLLOW);
      assert.equal(stat(`${dir}/l`).mtime, 5n * SECOND + 6n);
      assert.deepEqual(stat(`${dir}/f`), before);
    },
  },
];
