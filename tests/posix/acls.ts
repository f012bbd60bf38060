/** POSIX access control lists, set and shown by Debian's acl (man 5 acl). Attributes by setxattr(2). */
import assert from "node:assert/strict";
import type { PosixCheck } from "./check.ts";
import {
  access,
  as,
  chmod,
  chown,
  close,
  content,
  type Credentials,
  fails,
  fstat,
  getxattr,
  listxattr,
  mkdir,
  mknod,
  modeOf,
  O_CREAT,
  O_RDWR,
  O_TMPFILE,
  O_WRONLY,
  open,
  put,
  R_OK,
  removexattr,
  S_IFIFO,
  setxattr,
  stat,
  symlink,
  W_OK,
  withOpen,
  withUmask,
  X_OK,
} from "./syscalls.ts";

const ANN: Credentials = { uid: 31001, gid: 31001 };
const BEN: Credentials = { uid: 31002, gid: 31002 };
const TEAM = 31100;
const ACCESS = "system.posix_acl_access";
const DEFAULT = "system.posix_acl_default";

function setfacl(...args: string[]): void {
  const { success, stderr } = new Deno.Command("setfacl", { args }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** The entries as getfacl prints them, without comments. */
function getfacl(path: string): string {
  const { success, stdout, stderr } = new Deno.Command("getfacl", {
    args: ["--omit-header", "--numeric", "--absolute-names", "--no-effective", path],
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim().split("\n").join(" ");
}

function may(who: Credentials, path: string): string {
  const letters: [string, number][] = [["r", R_OK], ["w", W_OK], ["x", X_OK]];
  return as(who, () =>
    letters.map(([letter, mode]) => {
      try {
        access(path, mode);
        return letter;
      } catch {
        return "-";
      }
    }).join(""));
}

export const ACL_CHECKS: readonly PosixCheck[] = [
  {
    name: "an access list gives named users and groups what the mask lets through",
    run(dir) {
      const f = `${dir}/f`;
      put(f, "content", 0o640);
      setfacl("-m", `u:${ANN.uid}:rwx,g:${TEAM}:r`, f);
      const team = { ...BEN, groups: [TEAM] };
      assert.equal(
        getfacl(f),
        `user::rw- user:${ANN.uid}:rwx group::r-- group:${TEAM}:r-- mask::rwx other::---`,
      );
      assert.equal(modeOf(f), 0o670);
      assert.deepEqual([may(ANN, f), may(team, f), may(BEN, f)], ["rwx", "r--", "---"]);
      setfacl("-m", "m::r", f);
      assert.equal(modeOf(f), 0o640);
      assert.deepEqual([may(ANN, f), may(team, f), may(BEN, f)], ["r--", "r--", "---"]);
      as(ANN, () => {
        assert.equal(content(f), "content");
        fails("EACCES", () => open(f, O_WRONLY));
      });
      assert.deepEqual(listxattr(f), [ACCESS]);
    },
  },
  {
    name: "chmod(2) changes owner, mask and others of an access list, and leaves the group's entry",
    run(dir) {
      const f = `${dir}/f`;
      put(f, "", 0o640);
      setfacl("-m", `u:${ANN.uid}:rwx`, f);
      chmod(f, 0o715);
      assert.equal(getfacl(f), `user::rwx user:${ANN.uid}:rwx group::r-- mask::--x other::r-x`);
      assert.equal(may(ANN, f), "--x");
      chmod(f, 0o7770);
      assert.equal(getfacl(f), `user::rwx user:${ANN.uid}:rwx group::r-- mask::rwx other::---`);
      assert.equal(modeOf(f), 0o7770);
      assert.equal(may(ANN, f), "rwx");
    },
  },
  {
    name: "a list that says no more than the permission bits is none; -b takes lists away",
    run(dir) {
      const f = `${dir}/f`;
      put(f, "", 0o600);
      setfacl("-m", "g::r,o::x", f);
      assert.equal(modeOf(f), 0o641);
      assert.deepEqual(listxattr(f), []);
      setfacl("-m", `u:${ANN.uid}:r`, f);
      setfacl("-b", f);
      assert.deepEqual(listxattr(f), []);
      assert.equal(getfacl(f), "user::rw- group::r-- other::--x");
      removexattr(f, ACCESS);
      fails("ENODATA", () => getxattr(f, ACCESS));
    },
  },
  {
    name: "a default list is inherited by what is made, without what the mode leaves out",
    run(dir) {
      const d = `${dir}/d`;
      mkdir(d);
      const entries = `user::rwx user:${ANN.uid}:rwx group::r-x mask::rwx other::r--`;
      setfacl("-d", "-m", `u::rwx,u:${ANN.uid}:rwx,g::rx,m::rwx,o::r`, d);
      // The umask does not count where there is a default list.
      withUmask(0o077, () => {
        close(open(`${d}/f`, O_CREAT | O_WRONLY, 0o666));
        mkdir(`${d}/sub`, 0o750);
        mknod(`${d}/p`, S_IFIFO | 0o644);
        symlink("f", `${d}/l`);
        withOpen(d, O_TMPFILE | O_RDWR, (fd) => assert.equal(fstat(fd).mode & 0o777, 0o664), 0o666);
      });
      assert.equal(
        getfacl(`${d}/f`),
        `user::rw- user:${ANN.uid}:rwx group::r-x mask::rw- other::r--`,
      );
      assert.equal(modeOf(`${d}/f`), 0o664);
      assert.equal(
        getfacl(`${d}/sub`),
        `user::rwx user:${ANN.uid}:rwx group::r-x mask::r-x other::--- ` +
          entries.split(" ").map((entry) => `default:${entry}`).join(" "),
      );
      assert.equal(modeOf(`${d}/p`), 0o644);
      assert.equal(stat(`${d}/l`).mode & 0o777, 0o777);
      assert.deepEqual(listxattr(`${d}/l`), []);
      assert.deepEqual(listxattr(`${d}/sub`), [ACCESS, DEFAULT]);
      setfacl("-k", d);
      assert.deepEqual(listxattr(d), []);
      withUmask(0o077, () => put(`${d}/g`, "", 0o666));
      assert.equal(modeOf(`${d}/g`), 0o600);
    },
  },
  {
    name: "a default list without names is inherited as permission bits alone",
    run(dir) {
      mkdir(`${dir}/d`);
      setfacl("-d", "-m", "u::rw,g::r,o::-", `${dir}/d`);
      withUmask(0, () => put(`${dir}/d/f`, "", 0o777));
      assert.equal(modeOf(`${dir}/d/f`), 0o640);
      assert.deepEqual(listxattr(`${dir}/d/f`), []);
    },
  },
  {
    name: "only the owner changes lists; default lists are for directories",
    run(dir) {
      const f = `${dir}/f`;
      put(f, "", 0o666);
      setfacl("-m", `u:${BEN.uid}:r`, f);
      const list = Uint8Array.from(getxattr(f, ACCESS), (character) => character.charCodeAt(0));
      as(ANN, () => fails("EPERM", () => setxattr(f, ACCESS, list)));
      as(ANN, () => fails("EPERM", () => removexattr(f, ACCESS)));
      chown(f, ANN.uid, ANN.gid);
      as(ANN, () => setxattr(f, ACCESS, list));
      fails("EACCES", () => setxattr(f, DEFAULT, list));
      symlink("f", `${dir}/l`);
      fails("EOPNOTSUPP", () => setxattr(`${dir}/l`, ACCESS, list));
      fails("EINVAL", () => setxattr(f, ACCESS, list.subarray(0, 7)));
      fails("EOPNOTSUPP", () => setxattr(f, ACCESS, Uint8Array.of(9, ...list.subarray(1))));
    },
  },
  {
    name: "setting a list drops setgid when the owner is not of the group",
    run(dir) {
      const f = `${dir}/f`;
      put(f);
      chown(f, ANN.uid, TEAM);
      chmod(f, 0o2755);
      setfacl("-m", `u:${BEN.uid}:r`, f);
      assert.equal(modeOf(f), 0o2755);
      const list = Uint8Array.from(getxattr(f, ACCESS), (character) => character.charCodeAt(0));
      as({ ...ANN, groups: [TEAM] }, () => setxattr(f, ACCESS, list));
      assert.equal(modeOf(f), 0o2755);
      as(ANN, () => setxattr(f, ACCESS, list));
      assert.equal(modeOf(f), 0o755);
    },
  },
  {
    name: "a list of a directory rules who walks through it",
    run(dir) {
      mkdir(`${dir}/d`, 0o700);
      put(`${dir}/d/f`, "content");
      as(ANN, () => fails("EACCES", () => content(`${dir}/d/f`)));
      setfacl("-m", `u:${ANN.uid}:x`, `${dir}/d`);
      as(ANN, () => assert.equal(content(`${dir}/d/f`), "content"));
      as(BEN, () => fails("EACCES", () => content(`${dir}/d/f`)));
      setfacl("-x", `u:${ANN.uid}`, `${dir}/d`);
      as(ANN, () => fails("EACCES", () => content(`${dir}/d/f`)));
    },
  },
  {
    name: "cp -a and tar carry lists and attributes over",
    run(dir) {
      mkdir(`${dir}/a`);
      put(`${dir}/a/f`, "content");
      setfacl("-d", "-m", `u:${ANN.uid}:rwx`, `${dir}/a`);
      setfacl("-m", `u:${ANN.uid}:rwx`, `${dir}/a/f`);
      setxattr(`${dir}/a/f`, "user.x", "y");
      const script =
        "cp -a a b && mkdir c && tar --acls --xattrs -cf - -C a . | tar --acls --xattrs -xf - -C c";
      const { success } = new Deno.Command("sh", { args: ["-c", script], cwd: dir }).outputSync();
      assert.ok(success);
      for (const copy of ["b", "c"]) {
        assert.equal(getfacl(`${dir}/${copy}`), getfacl(`${dir}/a`));
        assert.equal(getfacl(`${dir}/${copy}/f`), getfacl(`${dir}/a/f`));
        assert.equal(getxattr(`${dir}/${copy}/f`, "user.x"), "y");
      }
    },
  },
];
