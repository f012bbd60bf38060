/** Who may do what, and what of setuid, setgid and sticky survives (man 7 inode, 2 chown, 2 write). */
import assert from "node:assert/strict";
import type { PosixCheck } from "./check.ts";
import {
  access,
  as,
  AT_SYMLINK_NOFOLLOW,
  chmod,
  chown,
  close,
  content,
  copyFileRange,
  type Credentials,
  fails,
  FALLOC_FL_KEEP_SIZE,
  fallocate,
  fstat,
  ftruncate,
  link,
  mkdir,
  mknod,
  modeOf,
  O_CREAT,
  O_RDWR,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  open,
  put,
  R_OK,
  removexattr,
  rename,
  S_IFREG,
  S_IFSOCK,
  setxattr,
  stat,
  symlink,
  truncate,
  unlink,
  utimens,
  W_OK,
  withOpen,
  withUmask,
  write,
  X_OK,
} from "./syscalls.ts";

const ANN: Credentials = { uid: 31001, gid: 31001 };
const BEN: Credentials = { uid: 31002, gid: 31002 };
const TEAM = 31100;

/** A file of somebody's, with this mode. */
function file(path: string, { uid, gid }: Credentials, mode: number): string {
  put(path, "content");
  chown(path, uid, gid);
  chmod(path, mode);
  return path;
}

/** What changes the content of a file, through a descriptor. */
const CONTENT_CHANGES: readonly (readonly [name: string, change: (fd: number) => void])[] = [
  ["write", (fd) => void write(fd, "x")],
  ["ftruncate", (fd) => ftruncate(fd, 2)],
  ["fallocate", (fd) => fallocate(fd, 0, 0, 100)],
  ["fallocate keeping the size", (fd) => fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100)],
];

export const PERMISSION_CHECKS: readonly PosixCheck[] = [
  {
    name: "the classes owner, group and others are asked in that order, and only one of them",
    run(dir) {
      const cases: [Credentials, number, string | null][] = [
        [ANN, 0o400, null],
        [ANN, 0o077, "EACCES"],
        [{ ...BEN, gid: TEAM }, 0o040, null],
        [{ ...BEN, groups: [TEAM] }, 0o040, null],
        [{ ...BEN, groups: [5, TEAM, 6] }, 0o404, "EACCES"],
        [BEN, 0o004, null],
        [BEN, 0o770, "EACCES"],
        [{ uid: 0, gid: 0 }, 0o000, null],
      ];
      for (const [who, mode, code] of cases) {
        const path = file(`${dir}/f`, { uid: ANN.uid, gid: TEAM }, mode);
        const use = () => as(who, () => content(path));
        if (code === null) assert.equal(use(), "content");
        else fails(code, use);
        unlink(path);
      }
    },
  },
  {
    name: "access(2) tells what the real user may",
    run(dir) {
      const path = file(`${dir}/f`, ANN, 0o750);
      as(ANN, () => access(path, R_OK | W_OK | X_OK));
      as({ ...BEN, groups: [ANN.gid] }, () => {
        access(path, R_OK | X_OK);
        fails("EACCES", () => access(path, W_OK));
      });
      as(BEN, () => {
        access(path, 0);
        fails("EACCES", () => access(path, R_OK));
        fails("ENOENT", () => access(`${dir}/absent`, 0));
        fails("ENOTDIR", () => access(`${path}/below`, 0));
      });
      chmod(path, 0o600);
      access(path, R_OK | W_OK);
      fails("EACCES", () => access(path, X_OK));
    },
  },
  {
    name: "a directory's x lets names be found, r lets them be listed, wx lets them be changed",
    run(dir) {
      mkdir(`${dir}/d`);
      file(`${dir}/d/f`, ANN, 0o644);
      const allowed = (mode: number) => {
        chmod(`${dir}/d`, mode);
        return as(ANN, () =>
          [
            () => void stat(`${dir}/d/f`),
            () => void [...Deno.readDirSync(`${dir}/d`)],
            () => put(`${dir}/d/g`),
            () => unlink(`${dir}/d/g`),
          ].map((use) => {
            try {
              use();
              return true;
            } catch {
              return false;
            }
          }));
      };
      assert.deepEqual(allowed(0o700), [false, false, false, false]);
      assert.deepEqual(allowed(0o701), [true, false, false, false]);
      assert.deepEqual(allowed(0o704), [false, true, false, false]);
      assert.deepEqual(allowed(0o703), [true, false, true, true]);
      assert.deepEqual(allowed(0o702), [false, false, false, false]);
    },
  },
  {
    name:
      "in a sticky directory only the owner of the file or of the directory removes and renames",
    run(dir) {
      mkdir(`${dir}/d`);
      chmod(`${dir}/d`, 0o1777);
      file(`${dir}/d/f`, ANN, 0o666);
      as(BEN, () => {
        fails("EPERM", () => unlink(`${dir}/d/f`));
        fails("EPERM", () => rename(`${dir}/d/f`, `${dir}/d/g`));
        put(`${dir}/d/own`);
        fails("EPERM", () => rename(`${dir}/d/own`, `${dir}/d/f`));
      });
      as(ANN, () => {
        fails("EPERM", () => unlink(`${dir}/d/own`));
        rename(`${dir}/d/f`, `${dir}/d/g`);
        unlink(`${dir}/d/g`);
      });
      chown(`${dir}/d`, ANN.uid, ANN.gid);
      as(ANN, () => unlink(`${dir}/d/own`));
    },
  },
  {
    name: "only the owner changes mode and times; only root gives files away",
    run(dir) {
      const path = file(`${dir}/f`, ANN, 0o666);
      as(BEN, () => {
        fails("EPERM", () => chmod(path, 0o777));
        fails("EPERM", () => utimens(path, { s: 1, ns: 0 }, { s: 1, ns: 0 }));
        utimens(path, "now", "now");
        fails("EPERM", () => chown(path, BEN.uid, -1));
      });
      as({ ...ANN, groups: [TEAM] }, () => {
        fails("EPERM", () => chown(path, BEN.uid, -1));
        fails("EPERM", () => chown(path, -1, BEN.gid));
        chown(path, -1, TEAM);
        chown(path, ANN.uid, -1);
      });
      assert.equal(stat(path).gid, TEAM);
      chmod(path, 0o600);
      as(BEN, () => fails("EACCES", () => utimens(path, "now", "now")));
    },
  },
  {
    name: "chown(2) clears setuid, and setgid where the group may execute, for root too",
    run(dir) {
      const after = (mode: number, change: (path: string) => void) => {
        const path = file(`${dir}/f`, ANN, mode);
        change(path);
        const left = modeOf(path);
        unlink(path);
        return left;
      };
      const owner = { ...ANN, groups: [TEAM] };
      for (const by of [{ uid: 0, gid: 0 }, owner]) {
        const toTeam = (path: string) => as(by, () => chown(path, -1, TEAM));
        assert.equal(after(0o6755, toTeam), 0o755);
        assert.equal(after(0o4755, toTeam), 0o755);
        assert.equal(after(0o6744, toTeam), 0o2744);
        assert.equal(after(0o1755, toTeam), 0o1755);
      }
      // Nothing is changed, and it counts as a change all the same.
      assert.equal(after(0o6755, (path) => as(owner, () => chown(path, -1, -1))), 0o755);
      mkdir(`${dir}/d`);
      chmod(`${dir}/d`, 0o7755);
      chown(`${dir}/d`, ANN.uid, TEAM);
      assert.equal(modeOf(`${dir}/d`), 0o7755);
    },
  },
  ...CONTENT_CHANGES.map(([name, change]): PosixCheck => ({
    name: `${name} by another user clears setuid and setgid, by root neither`,
    run(dir) {
      const after = (mode: number, who: Credentials) => {
        const path = file(`${dir}/f`, ANN, mode);
        as(who, () => withOpen(path, O_RDWR, change));
        const left = modeOf(path);
        unlink(path);
        return left;
      };
      assert.equal(after(0o6777, BEN), 0o777);
      assert.equal(after(0o4666, BEN), 0o666);
      // Without x for the group setgid means something else; it stays for its members alone.
      assert.equal(after(0o2666, { ...BEN, groups: [ANN.gid] }), 0o2666);
      assert.equal(after(0o2666, BEN), 0o666);
      assert.equal(after(0o6777, ANN), 0o777);
      assert.equal(after(0o6777, { uid: 0, gid: 0 }), 0o6777);
      assert.equal(after(0o1777, BEN), 0o1777);
    },
  })),
  {
    name: "truncate(2), O_TRUNC and copy_file_range(2) by another user clear setuid and setgid",
    run(dir) {
      put(`${dir}/source`, "source");
      const changes: ((path: string) => void)[] = [
        (path) => truncate(path, 1),
        (path) => close(open(path, O_WRONLY | O_TRUNC)),
        (path) =>
          withOpen(
            `${dir}/source`,
            0,
            (from) => withOpen(path, O_WRONLY, (to) => void copyFileRange(from, to, 6)),
          ),
      ];
      for (const change of changes) {
        const path = file(`${dir}/f`, ANN, 0o6777);
        as(BEN, () => change(path));
        assert.equal(modeOf(path), 0o777, String(change));
        chmod(path, 0o6777);
        change(path);
        assert.equal(modeOf(path), 0o6777, String(change));
        unlink(path);
      }
    },
  },
  {
    name: "file capabilities go when the content or the owner changes, whoever does it",
    run(dir) {
      // struct vfs_cap_data, revision 2: cap_net_bind_service, effective.
      const capability = Uint8Array.of(1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
      const changes: ((path: string) => void)[] = [
        (path) => withOpen(path, O_WRONLY, (fd) => void write(fd, "x")),
        (path) => truncate(path, 1),
        (path) => withOpen(path, O_WRONLY, (fd) => fallocate(fd, 0, 0, 100)),
        (path) => chown(path, BEN.uid, -1),
        (path) => close(open(path, O_WRONLY | O_TRUNC)),
      ];
      for (const change of changes) {
        const path = file(`${dir}/f`, ANN, 0o755);
        setxattr(path, "security.capability", capability);
        setxattr(path, "user.other", "stays");
        change(path);
        fails("ENODATA", () => removexattr(path, "security.capability"));
        removexattr(path, "user.other");
        unlink(path);
      }
      const path = file(`${dir}/f`, ANN, 0o755);
      setxattr(path, "security.capability", capability);
      chmod(path, 0o700);
      rename(path, `${dir}/g`);
      removexattr(`${dir}/g`, "security.capability");
    },
  },
  {
    name: "chmod(2) by an owner who is not of the file's group drops setgid",
    run(dir) {
      const path = file(`${dir}/f`, { uid: ANN.uid, gid: TEAM }, 0o755);
      as(ANN, () => chmod(path, 0o2755));
      assert.equal(modeOf(path), 0o755);
      as({ ...ANN, groups: [TEAM] }, () => chmod(path, 0o2755));
      assert.equal(modeOf(path), 0o2755);
      chmod(path, 0o7777);
      assert.equal(modeOf(path), 0o7777);
    },
  },
  {
    name: "what is made in a setgid directory has its group, and directories pass setgid on",
    run(dir) {
      mkdir(`${dir}/d`);
      chown(`${dir}/d`, 0, TEAM);
      chmod(`${dir}/d`, 0o2777);
      as(ANN, () =>
        withUmask(0, () => {
          put(`${dir}/d/f`);
          mkdir(`${dir}/d/d`, 0o755);
          symlink("f", `${dir}/d/l`);
          mknod(`${dir}/d/s`, S_IFSOCK | 0o644);
          close(open(`${dir}/d/x`, O_CREAT | O_WRONLY, 0o2775));
          close(open(`${dir}/d/y`, O_CREAT | O_WRONLY, 0o2765));
          mknod(`${dir}/d/z`, S_IFREG | 0o6777);
          withOpen(`${dir}/d`, O_TMPFILE | O_RDWR, (fd) => {
            assert.equal(fstat(fd).gid, TEAM);
            assert.equal(fstat(fd).mode & 0o7777, 0o777);
          }, 0o2777);
        }));
      for (const name of ["f", "d", "l", "s", "x", "y", "z"]) {
        assert.equal(stat(`${dir}/d/${name}`).gid, TEAM, name);
        assert.equal(stat(`${dir}/d/${name}`).uid, ANN.uid, name);
      }
      assert.equal(modeOf(`${dir}/d/d`), 0o2755);
      // Nobody gets setgid for a group by making a file in its directory.
      assert.equal(modeOf(`${dir}/d/x`), 0o775);
      assert.equal(modeOf(`${dir}/d/y`), 0o2765);
      assert.equal(modeOf(`${dir}/d/z`), 0o4777);
      as(
        { ...ANN, groups: [TEAM] },
        () => withUmask(0, () => close(open(`${dir}/d/w`, O_CREAT | O_WRONLY, 0o2775))),
      );
      assert.equal(modeOf(`${dir}/d/w`), 0o2775);
    },
  },
  {
    name: "outside of setgid directories a new file has the group of who makes it",
    run(dir) {
      chmod(dir, 0o777);
      as({ uid: ANN.uid, gid: TEAM }, () => {
        put(`${dir}/f`);
        mkdir(`${dir}/d`);
      });
      assert.equal(stat(`${dir}/f`).gid, TEAM);
      assert.equal(stat(`${dir}/d`).gid, TEAM);
    },
  },
  {
    name: "the umask is taken off the mode of what is made, not off chmod(2)",
    run(dir) {
      withUmask(0o027, () => {
        put(`${dir}/f`, "", 0o666);
        mkdir(`${dir}/d`, 0o777);
        mknod(`${dir}/n`, S_IFREG | 0o777);
        chmod(`${dir}/f`, 0o666);
      });
      assert.equal(modeOf(`${dir}/f`), 0o666);
      assert.equal(modeOf(`${dir}/d`), 0o750);
      assert.equal(modeOf(`${dir}/n`), 0o750);
    },
  },
  {
    name: "a file made without permissions can be used by who made it while it is open",
    run(dir) {
      chmod(dir, 0o777);
      as(ANN, () => {
        withOpen(`${dir}/f`, O_CREAT | O_RDWR, (fd) => assert.equal(write(fd, "x"), 1), 0);
        fails("EACCES", () => open(`${dir}/f`, 0));
      });
    },
  },
  {
    name: "a setuid program runs as its owner",
    async run(dir) {
      chmod(dir, 0o755);
      const program = `${dir}/id`;
      put(program, Deno.readFileSync("/usr/bin/id"), 0o755);
      chown(program, BEN.uid, TEAM);
      chmod(program, 0o6755);
      const { stdout } = await new Deno.Command("setpriv", {
        args: [`--reuid=${ANN.uid}`, `--regid=${ANN.gid}`, "--clear-groups", program],
      }).output();
      const said = new TextDecoder().decode(stdout);
      assert.match(
        said,
        new RegExp(`uid=${ANN.uid}.*gid=${ANN.gid}.*euid=${BEN.uid}.*egid=${TEAM}`),
      );
    },
  },
  {
    name: "a file of another cannot be linked by who may not write it (protected_hardlinks)",
    run(dir) {
      const setting = Deno.readTextFileSync("/proc/sys/fs/protected_hardlinks").trim();
      chmod(dir, 0o777);
      file(`${dir}/f`, ANN, 0o644);
      const use = () => as(BEN, () => link(`${dir}/f`, `${dir}/g`));
      if (setting === "1") fails("EPERM", use);
      else use();
    },
  },
  {
    name: "lchown(2) changes the symbolic link itself",
    run(dir) {
      put(`${dir}/f`);
      symlink("f", `${dir}/l`);
      chown(`${dir}/l`, ANN.uid, TEAM, AT_SYMLINK_NOFOLLOW);
      assert.equal(stat(`${dir}/l`).uid, ANN.uid);
      assert.equal(stat(`${dir}/f`).uid, 0);
      chown(`${dir}/l`, BEN.uid, -1);
      assert.equal(stat(`${dir}/f`).uid, BEN.uid);
    },
  },
];
