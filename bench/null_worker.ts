/** Serves a root with one file on a descriptor; no attribute may be cached. */
import { ENOENT, ENOSYS } from "../src/base/errno.ts";
import { FsError } from "../src/base/errors.ts";
import { S_IFDIR, S_IFREG } from "../src/base/modes.ts";
import { Device } from "../src/fuse/device.ts";
import { Eventfd } from "../src/fuse/eventfd.ts";
import { serveLoop } from "../src/fuse/loop.ts";
import { Session } from "../src/fuse/session.ts";
import type { Attributes, Context, FileSystem } from "../src/vfs/operations.ts";

declare const self: {
  onmessage: (event: { data: number }) => void;
  postMessage(message: unknown): void;
};

const times = { atime: 0n, mtime: 0n, ctime: 0n, btime: 0n };

function attributes(inode: number): Attributes {
  const mode = inode === 1 ? S_IFDIR | 0o755 : S_IFREG | 0o644;
  const owner = { uid: 0, gid: 0, nlink: 1, rdev: 0 };
  return { inode, mode, size: 0, blocks: 0, validSeconds: 0, ...owner, ...times };
}

const served: Partial<FileSystem> = {
  lookup(_context: Context, _parent: number, name: Uint8Array): Attributes {
    if (new TextDecoder().decode(name) !== "file") throw new FsError(ENOENT);
    return attributes(2);
  },
  getattr: (_context: Context, inode: number) => attributes(inode),
  forget() {},
};

/** What is not served is unknown to the kernel from then on. */
const fileSystem = new Proxy(served, {
  get: (target, name) =>
    Reflect.get(target, name) ?? (() => {
      throw new FsError(ENOSYS);
    }),
}) as FileSystem;

self.onmessage = ({ data }) => {
  const device = new Device(data);
  const wake = new Eventfd();
  const waiter = { start() {} };
  const session = new Session(device, fileSystem, waiter, { onBroken: console.error });
  serveLoop(device, session, {
    wakeDescriptor: wake.descriptor,
    timeout: () => null,
    onWake() {},
    stop: () => false,
  });
  self.postMessage("ended");
};
