/** Extended attributes (man 7 xattr, 2 setxattr). */
import assert from "node:assert/strict";
import type { PosixCheck } from "./check.ts";
import {
  as,
  chmod,
  chown,
  content,
  fails,
  getxattr,
  link,
  listxattr,
  mkdir,
  mknod,
  put,
  removexattr,
  rename,
  S_IFIFO,
  setxattr,
  symlink,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "./syscalls.ts";

const ANN = { uid: 31001, gid: 31001 };

export const XATTR_CHECKS: readonly PosixCheck[] = [
  {
    name: "attributes are set, read, listed and removed, of files, directories and links of them",
    run(dir) {
      put(`${dir}/f`);
      mkdir(`${dir}/d`);
      for (const path of [`${dir}/f`, `${dir}/d`]) {
        assert.deepEqual(listxattr(path), []);
        setxattr(path, "user.one", "1");
        setxattr(path, "user.empty", "");
        setxattr(path, "user.one", "other");
        setxattr(path, "trusted.t", "t");
        setxattr(path, "security.s", "s");
        assert.deepEqual(listxattr(path), ["security.s", "trusted.t", "user.empty", "user.one"]);
        assert.equal(getxattr(path, "user.one"), "other");
        assert.equal(getxattr(path, "user.empty"), "");
        removexattr(path, "user.one");
        fails("ENODATA", () => getxattr(path, "user.one"));
        fails("ENODATA", () => removexattr(path, "user.one"));
        assert.deepEqual(listxattr(path), ["security.s", "trusted.t", "user.empty"]);
      }
      link(`${dir}/f`, `${dir}/g`);
      setxattr(`${dir}/g`, "user.shared", "yes");
      assert.equal(getxattr(`${dir}/f`, "user.shared"), "yes");
      rename(`${dir}/f`, `${dir}/h`);
      assert.equal(getxattr(`${dir}/h`, "user.shared"), "yes");
    },
  },
  {
    name: "XATTR_CREATE and XATTR_REPLACE",
    run(dir) {
      const f = `${dir}/f`;
      put(f);
      fails("ENODATA", () => setxattr(f, "user.x", "1", XATTR_REPLACE));
      setxattr(f, "user.x", "1", XATTR_CREATE);
      fails("EEXIST", () => setxattr(f, "user.x", "2", XATTR_CREATE));
      setxattr(f, "user.x", "3", XATTR_REPLACE);
      assert.equal(getxattr(f, "user.x"), "3");
      fails("EINVAL", () => setxattr(f, "user.x", "4", 4));
    },
  },
  {
    name: "values of any bytes; sizes, and ERANGE for too little room",
    run(dir) {
      const f = `${dir}/f`;
      put(f);
      const all = Uint8Array.from({ length: 256 }, (_, i) => i);
      setxattr(f, "user.bytes", all);
      assert.equal(getxattr(f, "user.bytes"), String.fromCharCode(...all));
      assert.equal(getxattr(f, "user.bytes", 256).length, 256);
      fails("ERANGE", () => getxattr(f, "user.bytes", 255));
      fails("E2BIG", () => setxattr(f, "user.big", new Uint8Array(65537)));
      const longest = `user.${"n".repeat(250)}`;
      setxattr(f, longest, "v");
      assert.equal(getxattr(f, longest), "v");
      fails("ERANGE", () => setxattr(f, `${longest}n`, "v"));
      const odd = Uint8Array.of(...new TextEncoder().encode("user."), 0xff, 0x01, 0x20);
      setxattr(f, odd, "odd");
      assert.equal(getxattr(f, odd), "odd");
    },
  },
  {
    name: "names that are none, and namespaces that there are not",
    run(dir) {
      const f = `${dir}/f`;
      put(f);
      for (const name of ["plain", "other.x", "system.x", "userx"]) {
        fails("EOPNOTSUPP", () => setxattr(f, name, "v"));
        fails("EOPNOTSUPP", () => getxattr(f, name));
        fails("EOPNOTSUPP", () => removexattr(f, name));
      }
      for (const name of ["user.", "trusted.", "security."]) {
        fails("EINVAL", () => setxattr(f, name, "v"));
        fails("EINVAL", () => getxattr(f, name));
      }
      fails("ERANGE", () => setxattr(f, "", "v"));
    },
  },
  {
    name: "user attributes follow the permission bits, and are only for files and directories",
    run(dir) {
      const f = `${dir}/f`;
      put(f);
      chmod(dir, 0o755);
      setxattr(f, "user.x", "1");
      as(ANN, () => {
        assert.equal(getxattr(f, "user.x"), "1");
        fails("EACCES", () => setxattr(f, "user.x", "2"));
        fails("EACCES", () => removexattr(f, "user.x"));
      });
      chmod(f, 0o600);
      as(ANN, () => fails("EACCES", () => getxattr(f, "user.x")));
      chown(f, ANN.uid, ANN.gid);
      as(ANN, () => setxattr(f, "user.x", "2"));
      symlink("f", `${dir}/l`);
      mknod(`${dir}/p`, S_IFIFO | 0o666);
      for (const path of [`${dir}/l`, `${dir}/p`]) {
        fails("EPERM", () => setxattr(path, "user.x", "1"));
        fails("ENODATA", () => getxattr(path, "user.x"));
        setxattr(path, "trusted.x", "1");
        assert.deepEqual(listxattr(path), ["trusted.x"]);
      }
      mkdir(`${dir}/t`);
      chmod(`${dir}/t`, 0o1777);
      as(ANN, () => fails("EPERM", () => setxattr(`${dir}/t`, "user.x", "1")));
    },
  },
  {
    name: "trusted attributes are root's alone and hidden from others; security ones are readable",
    run(dir) {
      const f = `${dir}/f`;
      put(f);
      chown(f, ANN.uid, ANN.gid);
      setxattr(f, "trusted.x", "1");
      setxattr(f, "security.x", "1");
      setxattr(f, "user.x", "1");
      as(ANN, () => {
        assert.deepEqual(listxattr(f), ["security.x", "user.x"]);
        fails("ENODATA", () => getxattr(f, "trusted.x"));
        fails("EPERM", () => setxattr(f, "trusted.x", "2"));
        assert.equal(getxattr(f, "security.x"), "1");
        fails("EPERM", () => setxattr(f, "security.x", "2"));
        fails("EPERM", () => removexattr(f, "security.x"));
      });
      assert.equal(content(f), "");
    },
  },
];
