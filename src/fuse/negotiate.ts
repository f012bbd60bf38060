import { FsError } from "../base/errors.ts";
import type { InitOffer } from "./operation.ts";
import {
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_MINOR_MIN,
  INIT_OUT,
  initFlag,
  initFlag2,
} from "./protocol.ts";

/** Largest write and read of one request, in bytes. */
export const WRITE_BYTES_MAX = 1 << 20;

const EPROTO = 71;
const PAGE_BYTES = 4096;
const BACKGROUND_MAX = 64;
const CONGESTION_THRESHOLD = 48;

/**
 * Not wanted, and why: READDIRPLUS_AUTO, with which the kernel asks for the attributes of one page of
 * a listing only and then looks up name by name (20,000 files found and stat-ed: 3,783 requests, 123
 * without it). AUTO_INVAL_DATA, since this mount is the only writer and says itself what is
 * stale (EXPLICIT_INVAL_DATA). WRITEBACK_CACHE, since pages that only the kernel has would reach the
 * journal out of order, and a crash must leave a prefix of the operations. PASSTHROUGH, since there is
 * no file behind an inode. NO_OPEN_SUPPORT, since an inode that is open must outlive its last name.
 * ASYNC_DIO, since with it the kernel leaves pages in its cache that an asynchronous direct write made
 * stale (xfstests generic/451).
 */
const WANTED = initFlag.ASYNC_READ | initFlag.POSIX_LOCKS | initFlag.FLOCK_LOCKS |
  initFlag.ATOMIC_O_TRUNC | initFlag.BIG_WRITES | initFlag.DONT_MASK | initFlag.DO_READDIRPLUS |
  initFlag.PARALLEL_DIROPS |
  initFlag.HANDLE_KILLPRIV_V2 | initFlag.POSIX_ACL | initFlag.MAX_PAGES | initFlag.CACHE_SYMLINKS |
  initFlag.EXPLICIT_INVAL_DATA | initFlag.SETXATTR_EXT | initFlag.INIT_EXT;

const WANTED2 = initFlag2.HAS_EXPIRE_ONLY | initFlag2.DIRECT_IO_ALLOW_MMAP;

/** What kernel and session agreed on. */
export interface Agreement {
  readonly minor: number;
  /** Bits of `initFlag`. */
  readonly flags: number;
  /** Bits of `initFlag2`. */
  readonly flags2: number;
  readonly maxReadahead: number;
}

/**
 * What to agree on: everything wanted that the kernel offers. Null for a kernel of a later major
 * version, which takes our answer and sends INIT again in ours.
 * @throws {FsError} EPROTO for a kernel before 7.31 (Linux 5.4)
 */
export function agree(offer: InitOffer): Agreement | null {
  if (offer.major > FUSE_KERNEL_VERSION) return null;
  if (offer.major < FUSE_KERNEL_VERSION || offer.minor < FUSE_MINOR_MIN) {
    throw new FsError(EPROTO, `the kernel speaks FUSE ${offer.major}.${offer.minor}`);
  }
  const flags = offer.flags & WANTED;
  return {
    minor: Math.min(offer.minor, FUSE_KERNEL_MINOR_VERSION),
    flags,
    flags2: (flags & initFlag.INIT_EXT) === 0 ? 0 : offer.flags2 & WANTED2,
    maxReadahead: offer.maxReadahead,
  };
}

/** `fuse_init_out`; with null: only our version. */
export function initOut(agreement: Agreement | null): Uint8Array {
  const view = new DataView(new ArrayBuffer(INIT_OUT.bytes));
  view.setUint32(INIT_OUT.major, FUSE_KERNEL_VERSION, true);
  view.setUint32(INIT_OUT.minor, agreement?.minor ?? FUSE_KERNEL_MINOR_VERSION, true);
  if (agreement !== null) {
    view.setUint32(INIT_OUT.max_readahead, agreement.maxReadahead, true);
    view.setUint32(INIT_OUT.flags, agreement.flags, true);
    view.setUint16(INIT_OUT.max_background, BACKGROUND_MAX, true);
    view.setUint16(INIT_OUT.congestion_threshold, CONGESTION_THRESHOLD, true);
    view.setUint32(INIT_OUT.max_write, WRITE_BYTES_MAX, true);
    view.setUint32(INIT_OUT.time_gran, 1, true);
    view.setUint16(INIT_OUT.max_pages, WRITE_BYTES_MAX / PAGE_BYTES, true);
    view.setUint32(INIT_OUT.flags2, agreement.flags2, true);
  }
  return new Uint8Array(view.buffer);
}
