/** Names and paths: what may be one, what removing and renaming refuse (man 2 rename, unlink, open). */
import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import type { PosixCheck } from "./check.ts";
import {
  close,
  content,
  fails,
  fstat,
  link,
  mkdir,
  mknod,
  modeOf,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDWR,
  O_WRONLY,
  open,
  put,
  readlink,
  rename,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  rmdir,
  S_IFCHR,
  S_IFIFO,
  stat,
  symlink,
  truncate,
  unlink,
  withOpen,
  write,
} from "./syscalls.ts";

const PATH_MAX = 4096;

/** Names of a directory as bytes in latin1; Deno's own listing would decode them. */
function namesOf(directory: string): string[] {
  const { stdout, success } = new Deno.Command("find", {
    args: [directory, "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\\0"],
  }).outputSync();
  assert.ok(success);
  return [...Buffer.from(stdout).toString("latin1").split("\0").slice(0, -1)].sort();
}

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export const NAME_CHECKS: readonly PosixCheck[] = [
  {
    name: "a name has up to 255 bytes, whatever makes it",
    run(dir) {
      const longest = "n".repeat(255);
      const makers: ((path: string) => void)[] = [
        (path) => put(path),
        (path) => mkdir(path),
        (path) => symlink("target", path),
        (path) => mknod(path, S_IFIFO | 0o644),
        (path) => link(`${dir}/f`, path),
        (path) => rename(`${dir}/f`, path),
      ];
      for (const make of makers) {
        put(`${dir}/f`);
        fails("ENAMETOOLONG", () => make(`${dir}/${longest}x`));
        make(`${dir}/${longest}`);
        assert.equal(stat(`${dir}/${longest}`).nlink > 0, true);
        fails("ENAMETOOLONG", () => stat(`${dir}/${longest}x`));
        Deno.removeSync(`${dir}/${longest}`);
      }
      fails("ENAMETOOLONG", () => unlink(`${dir}/${longest}x`));
      fails("ENAMETOOLONG", () => rmdir(`${dir}/${longest}x`));
      // Bytes count, not characters.
      put(`${dir}/${"é".repeat(127)}`);
      fails("ENAMETOOLONG", () => put(`${dir}/${"é".repeat(128)}`));
    },
  },
  {
    name: "a name may hold any byte but the slash and NUL",
    run(dir) {
      const names: string[] = [];
      for (let byte = 1; byte < 256; byte++) {
        const character = String.fromCharCode(byte);
        if (character !== "/") names.push(`${character}x`, `x${character}`);
      }
      names.push("\xff\xfe\xfd", "\n", " ", "\\", "*", "-rf", "...", "..x", ".x");
      const wanted = [...new Set(names)].sort();
      for (const name of wanted) put(bytes(`${dir}/${name}`), bytes(name));
      assert.deepEqual(namesOf(dir), wanted);
      for (const name of wanted) assert.equal(content(bytes(`${dir}/${name}`)), name);
      for (const name of wanted) unlink(bytes(`${dir}/${name}`));
      assert.deepEqual(namesOf(dir), []);
    },
  },
  {
    name: "names differ by every byte: no folding of case, no normal form",
    run(dir) {
      const names = ["A", "a", "\u00e9", "e\u0301", "\u212b", "\u00c5", "x ", "x"];
      for (const name of names) put(`${dir}/${name}`, name);
      assert.equal(namesOf(dir).length, names.length);
      for (const name of names) {
        assert.equal(Deno.readTextFileSync(`${dir}/${name}`), name);
      }
    },
  },
  {
    name: "paths reach PATH_MAX, and beyond it through openat(2)",
    run(dir) {
      const name = "d".repeat(200);
      const levels = 40;
      let at = open(dir, O_PATH | O_DIRECTORY);
      for (let level = 0; level < levels; level++) {
        mkdir(name, 0o755, at);
        const next = open(name, O_PATH | O_DIRECTORY, 0, at);
        close(at);
        at = next;
      }
      close(open("f", O_CREAT | O_WRONLY, 0o644, at));
      assert.equal(stat("f", at).nlink, 1);
      assert.ok(levels * name.length > PATH_MAX);
      unlink("f", at);
      // Up again by "..", which is another way through the same directories.
      for (let level = 0; level < levels; level++) {
        const above = open("..", O_PATH | O_DIRECTORY, 0, at);
        close(at);
        rmdir(name, above);
        at = above;
      }
      assert.equal(fstat(at).inode, stat(dir).inode);
      close(at);
      const slashes = "/".repeat(PATH_MAX - 2 - dir.length);
      put(`${dir}${slashes}f`);
      fails("ENAMETOOLONG", () => stat(`${dir}${slashes}/f`));
    },
  },
  {
    name: "ELOOP: circles, 41 links in a row, and O_NOFOLLOW",
    run(dir) {
      symlink("b", `${dir}/a`);
      symlink("a", `${dir}/b`);
      fails("ELOOP", () => open(`${dir}/a`, 0));
      fails("ELOOP", () => truncate(`${dir}/a`, 0));
      put(`${dir}/l0`, "end");
      for (let i = 1; i <= 41; i++) symlink(`l${i - 1}`, `${dir}/l${i}`);
      assert.equal(content(`${dir}/l40`), "end");
      fails("ELOOP", () => open(`${dir}/l41`, 0));
      fails("ELOOP", () => open(`${dir}/l1`, O_NOFOLLOW));
      fails("ENOTDIR", () => open(`${dir}/l1`, O_NOFOLLOW | O_DIRECTORY));
    },
  },
  {
    name: "ENOTDIR, EISDIR, ENOENT and EEXIST are what the man pages say",
    run(dir) {
      put(`${dir}/f`);
      mkdir(`${dir}/d`);
      symlink("nowhere", `${dir}/dangling`);
      for (const use of [stat, unlink, rmdir, mkdir, put, readlink] as ((path: string) => void)[]) {
        fails("ENOTDIR", () => use(`${dir}/f/x`));
        fails("ENOENT", () => use(`${dir}/absent/x`));
      }
      fails("EISDIR", () => unlink(`${dir}/d`));
      fails("ENOTDIR", () => rmdir(`${dir}/f`));
      fails("EISDIR", () => open(`${dir}/d`, O_WRONLY));
      fails("EISDIR", () => open(`${dir}/d`, O_RDWR | O_CREAT));
      fails("ENOTDIR", () => open(`${dir}/f`, O_DIRECTORY));
      fails("EISDIR", () => truncate(`${dir}/d`, 0));
      fails("EEXIST", () => open(`${dir}/f`, O_CREAT | O_EXCL));
      fails("EEXIST", () => open(`${dir}/dangling`, O_CREAT | O_EXCL));
      fails("ENOENT", () => open(`${dir}/dangling`, 0));
      for (const name of ["f", "d", "dangling"]) {
        fails("EEXIST", () => mkdir(`${dir}/${name}`));
        fails("EEXIST", () => symlink("x", `${dir}/${name}`));
        fails("EEXIST", () => mknod(`${dir}/${name}`, S_IFIFO | 0o644));
        fails("EEXIST", () => link(`${dir}/f`, `${dir}/${name}`));
      }
      fails("EINVAL", () => readlink(`${dir}/f`));
      fails("ENOENT", () => symlink("", `${dir}/s`));
      fails("ENOENT", () => stat(""));
      put(`${dir}/dangling`, "made");
      assert.equal(content(`${dir}/nowhere`), "made");
      fails("ENOTDIR", () => stat(`${dir}/f/`));
      fails("EISDIR", () => put(`${dir}/new/`));
      mkdir(`${dir}/new/`);
      fails("EINVAL", () => rmdir(`${dir}/new/.`));
      fails("ENOTEMPTY", () => rmdir(`${dir}/new/..`));
    },
  },
  {
    name: "ENOTEMPTY for rmdir and for renaming onto a directory that holds something",
    run(dir) {
      mkdir(`${dir}/a`);
      mkdir(`${dir}/b`);
      put(`${dir}/b/.hidden`);
      fails("ENOTEMPTY", () => rmdir(`${dir}/b`));
      fails("ENOTEMPTY", () => rename(`${dir}/a`, `${dir}/b`));
      unlink(`${dir}/b/.hidden`);
      rename(`${dir}/a`, `${dir}/b`);
      rmdir(`${dir}/b`);
      assert.deepEqual(namesOf(dir), []);
    },
  },
  {
    name: "EXDEV across mounts, EBUSY for a mount point",
    async run(dir) {
      const mount = (...args: string[]) => new Deno.Command("mount", { args }).output();
      mkdir(`${dir}/m`);
      put(`${dir}/f`);
      assert.equal((await mount("-t", "tmpfs", "none", `${dir}/m`)).code, 0);
      try {
        fails("EXDEV", () => rename(`${dir}/f`, `${dir}/m/f`));
        fails("EXDEV", () => link(`${dir}/f`, `${dir}/m/f`));
        fails("EBUSY", () => rmdir(`${dir}/m`));
        fails("EBUSY", () => rename(`${dir}/m`, `${dir}/n`));
      } finally {
        await new Deno.Command("umount", { args: [`${dir}/m`] }).output();
      }
      rmdir(`${dir}/m`);
    },
  },
  {
    name: "rename(2): what replaces what, and EINVAL below itself",
    run(dir) {
      mkdir(`${dir}/d`);
      mkdir(`${dir}/d/e`);
      put(`${dir}/f`, "f");
      fails("EINVAL", () => rename(`${dir}/d`, `${dir}/d/e/x`));
      fails("EINVAL", () => rename(`${dir}/d`, `${dir}/d/x`));
      fails("ENOTEMPTY", () => rename(`${dir}/d/e`, `${dir}/d`));
      fails("ENOTDIR", () => rename(`${dir}/d`, `${dir}/f`));
      fails("EISDIR", () => rename(`${dir}/f`, `${dir}/d/e`));
      fails("ENOENT", () => rename(`${dir}/absent`, `${dir}/x`));
      fails("ENOENT", () => rename(`${dir}/f`, `${dir}/absent/x`));
      fails("EBUSY", () => rename(`${dir}/d/.`, `${dir}/x`));
      symlink("d", `${dir}/l`);
      rename(`${dir}/f`, `${dir}/l`);
      assert.equal(content(`${dir}/l`), "f");
      rename(`${dir}/l`, `${dir}/l`);
      link(`${dir}/l`, `${dir}/same`);
      // Two names of one file: nothing happens, and both stay.
      rename(`${dir}/l`, `${dir}/same`);
      assert.deepEqual(namesOf(dir), ["d", "l", "same"]);
      rename(`${dir}/d/e`, `${dir}/e`);
      assert.deepEqual([stat(dir).nlink, stat(`${dir}/d`).nlink], [4, 2]);
      rename(`${dir}/e`, `${dir}/d`);
      assert.deepEqual([stat(dir).nlink, stat(`${dir}/d`).nlink], [3, 2]);
    },
  },
  {
    name: "renameat2(2) with RENAME_NOREPLACE",
    run(dir) {
      put(`${dir}/a`, "a");
      put(`${dir}/b`, "b");
      fails("EEXIST", () => rename(`${dir}/a`, `${dir}/b`, RENAME_NOREPLACE));
      fails("EEXIST", () => rename(`${dir}/a`, `${dir}/a`, RENAME_NOREPLACE));
      rename(`${dir}/a`, `${dir}/c`, RENAME_NOREPLACE);
      assert.equal(content(`${dir}/b`) + content(`${dir}/c`), "ba");
      fails("EINVAL", () => rename(`${dir}/b`, `${dir}/c`, RENAME_NOREPLACE | RENAME_EXCHANGE));
      fails("EINVAL", () => rename(`${dir}/b`, `${dir}/d`, 8));
    },
  },
  {
    name: "renameat2(2) with RENAME_EXCHANGE swaps whatever the two are",
    run(dir) {
      mkdir(`${dir}/d`);
      mkdir(`${dir}/other`);
      put(`${dir}/d/inside`, "inside");
      put(`${dir}/other/f`, "f");
      rename(`${dir}/d`, `${dir}/other/f`, RENAME_EXCHANGE);
      assert.equal(content(`${dir}/d`), "f");
      assert.equal(content(`${dir}/other/f/inside`), "inside");
      assert.deepEqual([stat(dir).nlink, stat(`${dir}/other`).nlink], [3, 3]);
      assert.equal(stat(`${dir}/other/f/..`).inode, stat(`${dir}/other`).inode);
      fails("ENOENT", () => rename(`${dir}/d`, `${dir}/absent`, RENAME_EXCHANGE));
      fails("EINVAL", () => rename(`${dir}/other`, `${dir}/other/f`, RENAME_EXCHANGE));
      fails("EINVAL", () => rename(`${dir}/other/f`, `${dir}/other`, RENAME_EXCHANGE));
      rename(`${dir}/d`, `${dir}/d`, RENAME_EXCHANGE);
    },
  },
  {
    name: "renameat2(2) with RENAME_WHITEOUT leaves a device 0:0",
    run(dir) {
      put(`${dir}/f`, "f");
      put(`${dir}/old`, "old");
      rename(`${dir}/f`, `${dir}/g`, RENAME_WHITEOUT);
      const left = stat(`${dir}/f`);
      assert.deepEqual([left.mode, left.major, left.minor, left.nlink], [S_IFCHR, 0, 0, 1]);
      fails("EEXIST", () => rename(`${dir}/g`, `${dir}/old`, RENAME_WHITEOUT | RENAME_NOREPLACE));
      rename(`${dir}/g`, `${dir}/old`, RENAME_WHITEOUT);
      assert.equal(content(`${dir}/old`), "f");
      fails("EINVAL", () => rename(`${dir}/g`, `${dir}/old`, RENAME_WHITEOUT | RENAME_EXCHANGE));
    },
  },
  {
    name: "a directory that was removed while in use takes no new names",
    run(dir) {
      mkdir(`${dir}/d`);
      const fd = open(`${dir}/d`, O_DIRECTORY);
      rmdir(`${dir}/d`);
      assert.equal(fstat(fd).nlink, 0);
      fails("ENOENT", () => mkdir("x", 0o755, fd));
      fails("ENOENT", () => open("x", O_CREAT | O_WRONLY, 0o644, fd));
      fails("ENOENT", () => stat("x", fd));
      close(fd);
    },
  },
  {
    name: "a file that was removed while open is used until it is closed",
    run(dir) {
      withOpen(`${dir}/f`, O_CREAT | O_RDWR, (fd) => {
        write(fd, "before");
        unlink(`${dir}/f`);
        assert.equal(fstat(fd).nlink, 0);
        write(fd, " after");
        assert.equal(fstat(fd).size, 12);
        assert.equal(content(`/proc/self/fd/${fd}`), "before after");
        put(`${dir}/f`, "another");
        assert.notEqual(fstat(fd).inode, stat(`${dir}/f`).inode);
      });
      assert.equal(content(`${dir}/f`), "another");
    },
  },
  {
    name: "a file that was replaced by rename while open stays what it was",
    run(dir) {
      put(`${dir}/f`, "old");
      put(`${dir}/new`, "new");
      withOpen(`${dir}/f`, 0, (fd) => {
        rename(`${dir}/new`, `${dir}/f`);
        assert.equal(fstat(fd).nlink, 0);
        assert.equal(content(`/proc/self/fd/${fd}`), "old");
      });
      assert.equal(content(`${dir}/f`), "new");
      assert.equal(modeOf(`${dir}/f`), 0o644);
    },
  },
];
