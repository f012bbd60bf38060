/**
 * The FUSE kernel protocol, version 7.45, as `linux/fuse.h` of Linux 6.18 has it: opcodes, flags and
 * the layout of every struct that Tarbox reads or writes, and nothing else. All integers are
 * little-endian on the machines Tarbox runs on (x86_64, arm64).
 *
 * A struct is `bytes` (its size) and the offset of each field.
 */

export const FUSE_KERNEL_VERSION = 7;
export const FUSE_KERNEL_MINOR_VERSION = 45;
/** Linux 5.4. Older kernels lack what Tarbox relies on (`max_pages`, explicit invalidation). */
export const FUSE_MINOR_MIN = 31;

export const FUSE_ROOT_ID = 1;
/** Bit of `unique` by which the kernel marks an INTERRUPT. */
export const FUSE_INT_REQ_BIT = 1n;

/** Operation codes of requests (`enum fuse_opcode`). */
export const opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

/** What a notification tells the kernel (`enum fuse_notify_code`). */
export const notifyCode = {
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
  DELETE: 6,
  /** From minor 44 (Linux 6.16) on. */
  INC_EPOCH: 8,
} as const;

/** Bits of `fuse_init_in.flags` and `fuse_init_out.flags`. */
export const initFlag = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  SPLICE_WRITE: 1 << 7,
  SPLICE_MOVE: 1 << 8,
  SPLICE_READ: 1 << 9,
  FLOCK_LOCKS: 1 << 10,
  HAS_IOCTL_DIR: 1 << 11,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  HANDLE_KILLPRIV: 1 << 19,
  POSIX_ACL: 1 << 20,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  MAP_ALIGNMENT: 1 << 26,
  SUBMOUNTS: 1 << 27,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;

/** Bits of `flags2`: bits 32 to 63 of the flags, shifted down. */
export const initFlag2 = {
  SECURITY_CTX: 1 << 0,
  HAS_INODE_DAX: 1 << 1,
  CREATE_SUPP_GROUP: 1 << 2,
  HAS_EXPIRE_ONLY: 1 << 3,
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  PASSTHROUGH: 1 << 5,
  NO_EXPORT_SUPPORT: 1 << 6,
  HAS_RESEND: 1 << 7,
  ALLOW_IDMAP: 1 << 8,
  OVER_IO_URING: 1 << 9,
  REQUEST_TIMEOUT: 1 << 10,
} as const;

export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const FATTR_ATIME = 1 << 4;
export const FATTR_MTIME = 1 << 5;
export const FATTR_FH = 1 << 6;
export const FATTR_ATIME_NOW = 1 << 7;
export const FATTR_MTIME_NOW = 1 << 8;
export const FATTR_LOCKOWNER = 1 << 9;
export const FATTR_CTIME = 1 << 10;
export const FATTR_KILL_SUIDGID = 1 << 11;

export const FOPEN_DIRECT_IO = 1 << 0;
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_CACHE_DIR = 1 << 3;

export const FUSE_RELEASE_FLOCK_UNLOCK = 1 << 1;
export const FUSE_GETATTR_FH = 1 << 0;
export const FUSE_LK_FLOCK = 1 << 0;
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2;
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0;
/** Flag of INVAL_ENTRY: let the dentry expire instead of removing it. */
export const FUSE_EXPIRE_ONLY = 1 << 0;

/** `fuse_file_lock.type`, as fcntl(2) numbers them. */
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;

/** Bits of `fuse_statx.mask`. */
export const STATX_BASIC_STATS = 0x7ff;
export const STATX_BTIME = 0x800;

export const IN_HEADER = {
  bytes: 40,
  len: 0,
  opcode: 4,
  unique: 8,
  nodeid: 16,
  uid: 24,
  gid: 28,
  pid: 32,
  total_extlen: 36,
} as const;
export const OUT_HEADER = { bytes: 16, len: 0, error: 4, unique: 8 } as const;

export const INIT_IN = {
  bytes: 16,
  major: 0,
  minor: 4,
  max_readahead: 8,
  flags: 12,
} as const;
/** What follows {@link INIT_IN} from minor 36 on. */
export const INIT_IN_EXT = { bytes: 48, flags2: 0 } as const;
export const INIT_OUT = {
  bytes: 64,
  major: 0,
  minor: 4,
  max_readahead: 8,
  flags: 12,
  max_background: 16,
  congestion_threshold: 18,
  max_write: 20,
  time_gran: 24,
  max_pages: 28,
  map_alignment: 30,
  flags2: 32,
  max_stack_depth: 36,
  request_timeout: 40,
} as const;

export const ATTR = {
  bytes: 88,
  ino: 0,
  size: 8,
  blocks: 16,
  atime: 24,
  mtime: 32,
  ctime: 40,
  atimensec: 48,
  mtimensec: 52,
  ctimensec: 56,
  mode: 60,
  nlink: 64,
  uid: 68,
  gid: 72,
  rdev: 76,
  blksize: 80,
  flags: 84,
} as const;
export const ENTRY_OUT = {
  bytes: 128,
  nodeid: 0,
  generation: 8,
  entry_valid: 16,
  attr_valid: 24,
  entry_valid_nsec: 32,
  attr_valid_nsec: 36,
  attr: 40,
} as const;
export const ATTR_OUT = { bytes: 104, attr_valid: 0, attr_valid_nsec: 8, attr: 16 } as const;
export const STATX_IN = {
  bytes: 24,
  getattr_flags: 0,
  fh: 8,
  sx_flags: 16,
  sx_mask: 20,
} as const;
export const STATX_OUT = {
  bytes: 288,
  attr_valid: 0,
  attr_valid_nsec: 8,
  flags: 12,
  stat: 32,
} as const;
export const STATX = {
  bytes: 256,
  mask: 0,
  blksize: 4,
  attributes: 8,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  attributes_mask: 56,
  atime: 64,
  btime: 80,
  ctime: 96,
  mtime: 112,
  rdev_major: 128,
  rdev_minor: 132,
  dev_major: 136,
  dev_minor: 140,
} as const;
export const SX_TIME = { bytes: 16, tv_sec: 0, tv_nsec: 8 } as const;

export const FORGET_IN = { bytes: 8, nlookup: 0 } as const;
export const BATCH_FORGET_IN = { bytes: 8, count: 0 } as const;
export const FORGET_ONE = { bytes: 16, nodeid: 0, nlookup: 8 } as const;
export const GETATTR_IN = { bytes: 16, getattr_flags: 0, fh: 8 } as const;
export const SETATTR_IN = {
  bytes: 88,
  valid: 0,
  fh: 8,
  size: 16,
  lock_owner: 24,
  atime: 32,
  mtime: 40,
  ctime: 48,
  atimensec: 56,
  mtimensec: 60,
  ctimensec: 64,
  mode: 68,
  uid: 76,
  gid: 80,
} as const;
export const MKNOD_IN = { bytes: 16, mode: 0, rdev: 4, umask: 8 } as const;
export const MKDIR_IN = { bytes: 8, mode: 0, umask: 4 } as const;
export const RENAME_IN = { bytes: 8, newdir: 0 } as const;
export const RENAME2_IN = { bytes: 16, newdir: 0, flags: 8 } as const;
export const LINK_IN = { bytes: 8, oldnodeid: 0 } as const;
export const OPEN_IN = { bytes: 8, flags: 0, open_flags: 4 } as const;
export const CREATE_IN = { bytes: 16, flags: 0, mode: 4, umask: 8, open_flags: 12 } as const;
export const OPEN_OUT = { bytes: 16, fh: 0, open_flags: 8, backing_id: 12 } as const;
export const RELEASE_IN = {
  bytes: 24,
  fh: 0,
  flags: 8,
  release_flags: 12,
  lock_owner: 16,
} as const;
export const FLUSH_IN = { bytes: 24, fh: 0, lock_owner: 16 } as const;
export const READ_IN = {
  bytes: 40,
  fh: 0,
  offset: 8,
  size: 16,
  read_flags: 20,
  lock_owner: 24,
  flags: 32,
} as const;
export const WRITE_IN = {
  bytes: 40,
  fh: 0,
  offset: 8,
  size: 16,
  write_flags: 20,
  lock_owner: 24,
  flags: 32,
} as const;
export const WRITE_OUT = { bytes: 8, size: 0 } as const;
export const STATFS_OUT = {
  bytes: 80,
  blocks: 0,
  bfree: 8,
  bavail: 16,
  files: 24,
  ffree: 32,
  bsize: 40,
  namelen: 44,
  frsize: 48,
} as const;
export const FSYNC_IN = { bytes: 16, fh: 0, fsync_flags: 8 } as const;
/** With FUSE_SETXATTR_EXT; without it only the first 8 bytes are there. */
export const SETXATTR_IN = { bytes: 16, size: 0, flags: 4, setxattr_flags: 8 } as const;
/** Bit of `setxattr_flags`: setgid is to go with this access list. */
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0;
export const SETXATTR_IN_COMPAT = { bytes: 8, size: 0, flags: 4 } as const;
export const GETXATTR_IN = { bytes: 8, size: 0 } as const;
export const GETXATTR_OUT = { bytes: 8, size: 0 } as const;
export const FILE_LOCK = { bytes: 24, start: 0, end: 8, type: 16, pid: 20 } as const;
export const LK_IN = { bytes: 48, fh: 0, owner: 8, lk: 16, lk_flags: 40 } as const;
export const ACCESS_IN = { bytes: 8, mask: 0 } as const;
export const INTERRUPT_IN = { bytes: 8, unique: 0 } as const;
export const FALLOCATE_IN = { bytes: 32, fh: 0, offset: 8, length: 16, mode: 24 } as const;
export const LSEEK_IN = { bytes: 24, fh: 0, offset: 8, whence: 16 } as const;
export const LSEEK_OUT = { bytes: 8, offset: 0 } as const;
export const COPY_FILE_RANGE_IN = {
  bytes: 56,
  fh_in: 0,
  off_in: 8,
  nodeid_out: 16,
  fh_out: 24,
  off_out: 32,
  len: 40,
  flags: 48,
} as const;
export const COPY_FILE_RANGE_OUT = { bytes: 8, bytes_copied: 0 } as const;
/** Followed by the name, then padded to 8 bytes. */
export const DIRENT = { bytes: 24, ino: 0, off: 8, namelen: 16, type: 20 } as const;

export const NOTIFY_INVAL_INODE_OUT = { bytes: 24, ino: 0, off: 8, len: 16 } as const;
export const NOTIFY_INVAL_ENTRY_OUT = { bytes: 16, parent: 0, namelen: 8, flags: 12 } as const;
export const NOTIFY_DELETE_OUT = { bytes: 24, parent: 0, child: 8, namelen: 16 } as const;
