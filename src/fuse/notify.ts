/**
 * Tells the kernel what in its caches is stale.
 *
 * Deadlock: the kernel may block a notification on locks that it holds while it waits for an answer
 * to a request. INVAL_ENTRY and DELETE take the lock of the parent directory, which a process in
 * lookup or create holds until its request is answered; INVAL_INODE waits for pages that are being
 * read. So the thread that serves the mount, and one that it waits for, must not be blocked by a
 * notification. Each function here writes on a thread of the runtime's pool and gives a promise; it
 * needs only the number of the descriptor. Call them from a thread with an event loop (the main
 * thread), and let no request wait for the promise.
 */
import {
  FUSE_EXPIRE_ONLY,
  NOTIFY_DELETE_OUT,
  NOTIFY_INVAL_ENTRY_OUT,
  NOTIFY_INVAL_INODE_OUT,
  notifyCode,
  OUT_HEADER,
} from "./protocol.ts";
import { threadedLibc } from "./libc.ts";

function notification(code: number, bytes: number): DataView {
  const view = new DataView(new ArrayBuffer(OUT_HEADER.bytes + bytes));
  view.setUint32(OUT_HEADER.len, view.byteLength, true);
  // A notification is a reply to nothing: unique 0, and its code in the place of the error.
  view.setInt32(OUT_HEADER.error, code, true);
  return view;
}

/** Encodes FUSE_NOTIFY_INVAL_INODE. */
export function encodeInvalidateInode(inode: number, offset: number, length: number): Uint8Array {
  const view = notification(notifyCode.INVAL_INODE, NOTIFY_INVAL_INODE_OUT.bytes);
  const at = OUT_HEADER.bytes;
  view.setBigUint64(at + NOTIFY_INVAL_INODE_OUT.ino, BigInt(inode), true);
  view.setBigInt64(at + NOTIFY_INVAL_INODE_OUT.off, BigInt(offset), true);
  view.setBigInt64(at + NOTIFY_INVAL_INODE_OUT.len, BigInt(length), true);
  return new Uint8Array(view.buffer);
}

/**
 * Encodes FUSE_NOTIFY_INVAL_ENTRY. The name expires: the kernel asks for it before its next use. A
 * kernel before 6.2 does not know the flag and removes the name, and getcwd(2) then says ENOENT to
 * whoever works there.
 */
export function encodeInvalidateEntry(parent: number, name: Uint8Array): Uint8Array {
  const size = NOTIFY_INVAL_ENTRY_OUT.bytes;
  const view = notification(notifyCode.INVAL_ENTRY, size + name.length + 1);
  const at = OUT_HEADER.bytes;
  view.setBigUint64(at + NOTIFY_INVAL_ENTRY_OUT.parent, BigInt(parent), true);
  view.setUint32(at + NOTIFY_INVAL_ENTRY_OUT.namelen, name.length, true);
  view.setUint32(at + NOTIFY_INVAL_ENTRY_OUT.flags, FUSE_EXPIRE_ONLY, true);
  const bytes = new Uint8Array(view.buffer);
  bytes.set(name, at + size);
  return bytes;
}

/** Encodes FUSE_NOTIFY_DELETE. */
export function encodeDelete(parent: number, child: number, name: Uint8Array): Uint8Array {
  const size = NOTIFY_DELETE_OUT.bytes;
  const view = notification(notifyCode.DELETE, size + name.length + 1);
  const at = OUT_HEADER.bytes;
  view.setBigUint64(at + NOTIFY_DELETE_OUT.parent, BigInt(parent), true);
  view.setBigUint64(at + NOTIFY_DELETE_OUT.child, BigInt(child), true);
  view.setUint32(at + NOTIFY_DELETE_OUT.namelen, name.length, true);
  const bytes = new Uint8Array(view.buffer);
  bytes.set(name, at + size);
  return bytes;
}

async function notify(fd: number, message: Uint8Array): Promise<boolean> {
  const bytes = message as Uint8Array<ArrayBuffer>;
  const written = await threadedLibc().write(fd, bytes, BigInt(bytes.length));
  // Naming `bytes` here keeps it alive until the other thread has read it. A failure is ENOENT (the
  // kernel has no such inode or name cached) or the end of the mount: nothing to be told either way.
  return Number(written) === bytes.length;
}

/**
 * The inode's attributes are stale, and its pages from `offset` on.
 * @param length bytes; 0: to the end of the file. A negative `offset`: attributes only
 * @returns whether the kernel had it cached
 */
export function invalidateInode(
  fd: number,
  inode: number,
  offset = 0,
  length = 0,
): Promise<boolean> {
  return notify(fd, encodeInvalidateInode(inode, offset, length));
}

/** What the name leads to (or that it leads nowhere) is stale. @returns whether it was cached */
export function invalidateEntry(fd: number, parent: number, name: Uint8Array): Promise<boolean> {
  return notify(fd, encodeInvalidateEntry(parent, name));
}

/** The name is gone: inotify(7) tells those who watch. @returns whether it was cached */
export function notifyDelete(
  fd: number,
  parent: number,
  child: number,
  name: Uint8Array,
): Promise<boolean> {
  return notify(fd, encodeDelete(parent, child, name));
}

/** Encodes FUSE_NOTIFY_INC_EPOCH. */
export function encodeForgetAllEntries(): Uint8Array {
  return new Uint8Array(notification(notifyCode.INC_EPOCH, 0).buffer);
}

/**
 * Every name that the kernel knows, and every name it knows to be absent, is looked up again before
 * its next use. @returns false from a kernel before 7.44, which cannot do that
 */
export function forgetAllEntries(fd: number): Promise<boolean> {
  return notify(fd, encodeForgetAllEntries());
}
