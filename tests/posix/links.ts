/** Hard links, symbolic links, files without a name, devices, fifos, sockets. */
import assert from "node:assert/strict";
import type { PosixCheck } from "./check.ts";
import {
  as,
  AT_FDCWD,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  chmod,
  chown,
  close,
  content,
  fails,
  fstat,
  link,
  mkdir,
  mknod,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_RDWR,
  O_TMPFILE,
  O_WRONLY,
  open,
  put,
  read,
  readlink,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFREG,
  S_IFSOCK,
  stat,
  statfs,
  symlink,
  unlink,
  withOpen,
  write,
} from "./syscalls.ts";

const S_IFMT = 0o170000;

export const LINK_CHECKS: readonly PosixCheck[] = [
  {
    name: "everything but a directory can have a second name, which is the same inode",
    run(dir) {
      const kinds: Record<string, (path: string) => void> = {
        regular: (path) => put(path, "content"),
        symlink: (path) => symlink("target", path),
        fifo: (path) => mknod(path, S_IFIFO | 0o644),
        socket: (path) => mknod(path, S_IFSOCK | 0o644),
        character: (path) => mknod(path, S_IFCHR | 0o644, 1, 3),
        block: (path) => mknod(path, S_IFBLK | 0o644, 7, 9),
      };
      for (const [kind, make] of Object.entries(kinds)) {
        make(`${dir}/${kind}`);
        const before = stat(`${dir}/${kind}`);
        link(`${dir}/${kind}`, `${dir}/${kind}-2`);
        const [one, two] = [stat(`${dir}/${kind}`), stat(`${dir}/${kind}-2`)];
        assert.deepEqual(one, two, kind);
        assert.deepEqual([one.inode, one.nlink], [before.inode, 2], kind);
        assert.ok(one.ctime > before.ctime, kind);
        assert.equal(one.mtime, before.mtime, kind);
        unlink(`${dir}/${kind}`);
        assert.equal(stat(`${dir}/${kind}-2`).nlink, 1, kind);
        assert.ok(stat(`${dir}/${kind}-2`).ctime > one.ctime, kind);
      }
      mkdir(`${dir}/d`);
      fails("EPERM", () => link(`${dir}/d`, `${dir}/e`));
    },
  },
  {
    name: "link(2) follows a symbolic link only when told to",
    run(dir) {
      put(`${dir}/f`);
      symlink("f", `${dir}/l`);
      link(`${dir}/l`, `${dir}/link-of-link`);
      link(`${dir}/l`, `${dir}/link-of-file`, AT_SYMLINK_FOLLOW);
      assert.equal(readlink(`${dir}/link-of-link`), "f");
      assert.equal(stat(`${dir}/link-of-file`).inode, stat(`${dir}/f`).inode);
    },
  },
  {
    name: "a symbolic link has up to 4095 bytes of any kind, and its length as its size",
    run(dir) {
      for (const target of ["x", "t".repeat(4095), "\xff\x01 /../\n", "/"]) {
        const bytes = Uint8Array.from(target, (character) => character.charCodeAt(0));
        symlink(bytes, `${dir}/l`);
        assert.equal(readlink(`${dir}/l`), target);
        assert.equal(stat(`${dir}/l`).size, target.length);
        assert.equal(stat(`${dir}/l`).mode & 0o777, 0o777);
        unlink(`${dir}/l`);
      }
      fails("ENAMETOOLONG", () => symlink("t".repeat(4096), `${dir}/l`));
    },
  },
  {
    name: "O_TMPFILE makes a file without a name, and linkat(2) gives it one",
    run(dir) {
      mkdir(`${dir}/d`);
      const before = stat(`${dir}/d`);
      withOpen(`${dir}/d`, O_TMPFILE | O_RDWR, (fd) => {
        assert.deepEqual([fstat(fd).nlink, fstat(fd).mode], [0, S_IFREG | 0o600]);
        write(fd, "content");
        assert.deepEqual([...Deno.readDirSync(`${dir}/d`)], []);
        assert.equal(stat(`${dir}/d`).mtime, before.mtime);
        link(`/proc/self/fd/${fd}`, `${dir}/f`, AT_SYMLINK_FOLLOW);
        assert.equal(fstat(fd).nlink, 1);
        assert.equal(fstat(fd).inode, stat(`${dir}/f`).inode);
        link(`${dir}/f`, `${dir}/g`);
        assert.equal(fstat(fd).nlink, 2);
      }, 0o600);
      assert.equal(content(`${dir}/g`), "content");
      withOpen(dir, O_TMPFILE | O_WRONLY | O_EXCL, (fd) => {
        fails("ENOENT", () => link(`/proc/self/fd/${fd}`, `${dir}/x`, AT_SYMLINK_FOLLOW));
      });
      fails("EINVAL", () => open(dir, O_TMPFILE));
      fails("ENOTDIR", () => open(`${dir}/f`, O_TMPFILE | O_RDWR));
    },
  },
  {
    name: "a file whose last name is gone cannot be linked again",
    run(dir) {
      withOpen(`${dir}/f`, O_CREAT | O_RDWR, (fd) => {
        unlink(`${dir}/f`);
        fails("ENOENT", () => link(`/proc/self/fd/${fd}`, `${dir}/g`, AT_SYMLINK_FOLLOW));
      });
    },
  },
  {
    name: "mknod(2) makes devices with their numbers, fifos, sockets and plain files",
    run(dir) {
      mknod(`${dir}/c`, S_IFCHR | 0o640, 5, 1);
      mknod(`${dir}/b`, S_IFBLK | 0o600, 254, 255);
      mknod(`${dir}/p`, S_IFIFO | 0o622);
      mknod(`${dir}/s`, S_IFSOCK | 0o755);
      mknod(`${dir}/f`, S_IFREG | 0o644);
      mknod(`${dir}/g`, 0o644);
      const told = ["c", "b", "p", "s", "f", "g"].map((name) => {
        const { mode, major, minor, size } = stat(`${dir}/${name}`);
        return [mode & S_IFMT, major, minor, size];
      });
      assert.deepEqual(told, [
        [S_IFCHR, 5, 1, 0],
        [S_IFBLK, 254, 255, 0],
        [S_IFIFO, 0, 0, 0],
        [S_IFSOCK, 0, 0, 0],
        [S_IFREG, 0, 0, 0],
        [S_IFREG, 0, 0, 0],
      ]);
      chmod(dir, 0o777);
      as({ uid: 31001, gid: 31001 }, () => {
        fails("EPERM", () => mknod(`${dir}/x`, S_IFCHR | 0o666, 1, 3));
        mknod(`${dir}/own-fifo`, S_IFIFO | 0o644);
      });
      fails("ENXIO", () => open(`${dir}/s`, O_RDWR));
    },
  },
  {
    name: "a device node is the device, a fifo carries data between processes, a socket is bound",
    async run(dir) {
      mknod(`${dir}/null`, S_IFCHR | 0o666, 1, 3);
      mknod(`${dir}/zero`, S_IFCHR | 0o666, 1, 5);
      put(`${dir}/null`, "goes nowhere");
      assert.equal(content(`${dir}/null`), "");
      withOpen(`${dir}/zero`, 0, (fd) => assert.equal(read(fd, 3), "\0\0\0"));
      mknod(`${dir}/fifo`, S_IFIFO | 0o644);
      const writer = new Deno.Command("sh", { args: ["-c", `echo through > ${dir}/fifo`] }).spawn();
      assert.equal(await Deno.readTextFile(`${dir}/fifo`), "through\n");
      await writer.status;
      // The path of a socket has 107 bytes at most: from within the directory it is short.
      const fd = open(dir, O_DIRECTORY);
      try {
        const path = `/proc/self/fd/${fd}/socket`;
        using listener = Deno.listen({ transport: "unix", path });
        const accepted = listener.accept();
        using _connection = await Deno.connect({ transport: "unix", path });
        (await accepted).close();
        assert.equal(stat(`${dir}/socket`).mode & S_IFMT, S_IFSOCK);
      } finally {
        close(fd);
      }
    },
  },
  {
    name: "a directory's link count is 2 and one for each directory in it",
    run(dir) {
      for (let i = 1; i <= 5; i++) {
        mkdir(`${dir}/d${i}`);
        put(`${dir}/f${i}`);
        assert.equal(stat(dir).nlink, 2 + i);
      }
      Deno.removeSync(`${dir}/d1`);
      assert.equal(stat(dir).nlink, 6);
      assert.equal(stat(`${dir}/d2/..`).inode, stat(dir).inode);
    },
  },
  {
    name: "inode numbers are those of the listing, and differ",
    run(dir) {
      for (let i = 0; i < 20; i++) put(`${dir}/${i}`);
      const { stdout } = new Deno.Command("ls", { args: ["-1ia", dir] }).outputSync();
      const listed = new Map(
        new TextDecoder().decode(stdout).trim().split("\n").map((line) => {
          const [inode, name] = line.trim().split(" ");
          return [name!, BigInt(inode!)] as const;
        }),
      );
      assert.equal(new Set(listed.values()).size, 22);
      for (const name of [".", "..", "0", "19"]) {
        assert.equal(listed.get(name), stat(`${dir}/${name}`).inode, name);
      }
    },
  },
  {
    name: "statfs(2) has room, names of 255 bytes, and counts no more free than there is",
    run(dir) {
      const told = statfs(dir);
      assert.equal(told.namelen, 255);
      assert.ok(told.blocks > 0 && told.frsize > 0 && told.bsize > 0);
      assert.ok(told.bfree <= told.blocks && told.bavail <= told.bfree && told.bavail > 0);
      assert.ok(told.files > 0 && told.ffree > 0 && told.ffree <= told.files);
    },
  },
  {
    name: "statx(2) knows everything, the birth time too",
    run(dir) {
      put(`${dir}/f`, "x".repeat(10_000));
      const STATX_BASIC_AND_BTIME = 0xfff;
      const told = stat(`${dir}/f`, AT_FDCWD, AT_SYMLINK_NOFOLLOW);
      assert.equal(told.mask & STATX_BASIC_AND_BTIME, STATX_BASIC_AND_BTIME);
      assert.equal(told.size, 10_000);
      assert.ok(told.btime <= told.ctime);
      chmod(`${dir}/f`, 0o600);
      chown(`${dir}/f`, 1, 1);
      assert.equal(stat(`${dir}/f`).btime, told.btime);
      withOpen(`${dir}/f`, O_WRONLY, (fd) => void write(fd, "y"));
      assert.equal(stat(`${dir}/f`).btime, told.btime);
    },
  },
];
