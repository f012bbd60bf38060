/** A {@link Target} that is a directory: of a mount, or of the machine's own filesystem as control. */
import { systemCalls as calls } from "./system_calls.ts";
import { O_RDWR, type Stat, type Target, UMASK } from "./target.ts";

const O_DIRECTORY = 0o200000;
const O_TMPFILE = 0o20000000 | O_DIRECTORY;

/** How far the clocks of this process and of a filesystem may be apart, in nanoseconds: a tick may be late. */
const CLOCK_SLACK = 2_000_000_000n;

/** What only some directories have. */
export interface Surroundings {
  remount(): Promise<void>;
  check(): Promise<readonly string[]>;
  readonly layers: Target["layers"];
}

/** The control: nothing goes away, nothing is checked. */
export const NOTHING_AROUND: Surroundings = {
  remount: () => Promise.resolve(),
  check: () => Promise.resolve([]),
  layers: null,
};

/** A program in an empty directory `root`. Sets the umask of this process. */
export function directoryTarget(root: string, around: Surroundings): Target {
  Deno.umask(UMASK);
  const begun: bigint[] = [];
  const now = () => BigInt(Date.now()) * 1_000_000n;
  /** Where a listing stands, so that only another position is sought. */
  const positions = new Map<number, bigint>();
  const at = (path: string) => path === "" ? root : `${root}/${path}`;
  return {
    begin: (operation) => void (begun[operation] = now()),
    window: (operation) => [
      begun[operation]! - CLOCK_SLACK,
      (begun[operation + 1] ?? now()) + CLOCK_SLACK,
    ],
    mkdir: async (path, mode) => calls.mkdir(at(path), mode),
    rmdir: async (path) => calls.rmdir(at(path)),
    unlink: async (path) => calls.unlink(at(path)),
    mknod: async (path, mode, rdev) => calls.mknod(at(path), mode, rdev),
    symlink: async (to, path) => calls.symlink(to, at(path)),
    link: async (from, to) => calls.link(at(from), at(to)),
    rename: async (from, to, flags) => calls.rename(at(from), at(to), flags),
    open: async (path, flags, mode) => calls.open(at(path), flags, mode),
    tmpfile: async (path, mode) => calls.open(at(path), O_TMPFILE | O_RDWR, mode),
    linkOpen: async (fd, path) => calls.linkOpen(fd, at(path)),
    close: async (fd) => calls.close(fd),
    pread: async (fd, offset, size) => calls.pread(fd, offset, size),
    pwrite: async (fd, offset, data) => calls.pwrite(fd, offset, data),
    ftruncate: async (fd, size) => calls.ftruncate(fd, size),
    truncate: async (path, size) => calls.truncate(at(path), size),
    fallocate: async (fd, mode, offset, length) => calls.fallocate(fd, mode, offset, length),
    seek: async (fd, offset, whence) => calls.lseek(fd, BigInt(offset), whence),
    copy: async (fd, offset, to, toOffset, length) =>
      calls.copyFileRange(fd, offset, to, toOffset, length),
    fsync: async (fd) => calls.fsync(fd),
    chmod: async (path, mode) => calls.chmod(at(path), mode),
    chown: async (path, uid, gid) => calls.chown(at(path), uid, gid),
    utimens: async (path, atime, mtime) => calls.utimens(at(path), atime, mtime),
    stat: async (path): Promise<Stat> => calls.stat(at(path)),
    fstat: async (fd) => calls.fstat(fd),
    readlink: async (path) => calls.readlink(at(path)),
    setxattr: async (path, name, value, flags) => calls.setxattr(at(path), name, value, flags),
    getxattr: async (path, name) => calls.getxattr(at(path), name),
    listxattr: async (path) => calls.listxattr(at(path)),
    removexattr: async (path, name) => calls.removexattr(at(path), name),
    async opendir(path) {
      const fd = calls.open(at(path), O_DIRECTORY, 0);
      positions.set(fd, 0n);
      return fd;
    },
    async getdents(fd, after, some) {
      if (positions.get(fd) !== after) calls.lseek(fd, after, 0);
      const entries = calls.getdents(fd, 300 * some);
      positions.set(fd, entries.at(-1)?.next ?? after);
      return entries;
    },
    async disturb(random) {
      if (random() < 0.9) return;
      const fd = calls.open(root, O_DIRECTORY, 0);
      calls.fsync(fd);
      calls.close(fd);
    },
    remount: around.remount,
    check: around.check,
    layers: around.layers,
    interlude: null,
    end: () => Promise.resolve(),
  };
}
