import { EBUSY, EINVAL, EPERM } from "../base/errno.ts";
import { TarboxError } from "../base/errors.ts";
import { openDevice } from "./device.ts";
import { mountAsUser, unmountAsUser } from "./fusermount.ts";
import { close, cString, errno, errorText, libc } from "./libc.ts";

const MS_RDONLY = 1;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

/** How long a busy mount is asked again, and how often. */
const BUSY_MS = 2_000;
const BUSY_PAUSE_MS = 10;

/** How to mount. */
export interface MountOptions {
  readonly readOnly: boolean;
  /** Users other than the one who mounts may use it. Always so for root. */
  readonly allowOther: boolean;
  /** What mount(8), df(1) and findmnt(8) show as mounted; default `tarbox`. No comma, no space. */
  readonly source?: string;
}

/** One line of `/proc/self/mountinfo` (man 5 proc). */
export interface MountedAt {
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
  /** Options of the mount, as `rw,nosuid`. */
  readonly options: readonly string[];
  /** Options of the file system. */
  readonly superOptions: readonly string[];
  /** `MAJOR:MINOR`; the minor number names the directory in `/sys/fs/fuse/connections`. */
  readonly device: string;
}

/**
 * Mounts on `directory`, as root by mount(2), else by `fusermount3`. The caller serves the mount
 * ({@link Device}, {@link serveLoop}); until then every use of the directory blocks.
 * @returns the descriptor of `/dev/fuse`, good in every thread of this process
 * @throws {TarboxError} when it cannot be mounted
 */
export function mountFuse(directory: string, options: MountOptions): Promise<number> {
  if (Deno.uid() !== 0) return mountAsUser(directory, options);
  return Promise.try(mountAsRoot, directory, options);
}

function mountAsRoot(directory: string, options: MountOptions): number {
  const fd = openDevice();
  // Root's mounts keep setuid programs and devices working, as those of any disk.
  const data =
    `fd=${fd},rootmode=40000,user_id=0,group_id=${Deno.gid()},default_permissions,allow_other`;
  const failed = libc().mount(
    cString(options.source ?? "tarbox"),
    cString(directory),
    cString("fuse.tarbox"),
    BigInt(options.readOnly ? MS_RDONLY : 0),
    cString(data),
  ) < 0;
  if (failed) {
    const code = errno();
    close(fd);
    throw new TarboxError(
      `cannot mount on ${directory}: ${errorText(code)}`,
      code === EPERM ? "in a container, mounting needs the capability CAP_SYS_ADMIN" : undefined,
    );
  }
  return fd;
}

/**
 * Unmounts what is mounted on `directory`. The thread that serves it must be another one. A mount that
 * is busy is asked again for two seconds: a path that somebody looks up, or what a process that has just
 * ended had mapped, keeps it for an instant.
 * @param lazy detach at once, also while files are open; the mount ends when they are closed
 * @throws {TarboxError} when it is busy or not mounted
 */
export async function detachMount(directory: string, lazy: boolean): Promise<void> {
  const detach = Deno.uid() === 0 ? detachAsRoot : unmountAsUser;
  for (const until = Date.now() + BUSY_MS;;) {
    if (await detach(directory, lazy) === "detached") return;
    if (Date.now() > until) break;
    await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
  }
  throw new TarboxError(
    `cannot unmount ${directory}: it is in use`,
    `see who uses it: fuser -vm ${directory}`,
  );
}

async function detachAsRoot(directory: string, lazy: boolean): Promise<"detached" | "busy"> {
  const flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
  if (libc().umount2(cString(directory), flags) === 0) return "detached";
  const code = errno();
  if (code === EBUSY) return "busy";
  throw new TarboxError(
    `cannot unmount ${directory}: ${code === EINVAL ? "it is not mounted" : errorText(code)}`,
  );
}

/** A field of mountinfo: space, tab, newline and backslash are three octal digits there. */
function unescape(field: string): string {
  return field.replace(
    /\\([0-3][0-7]{2})/g,
    (_, digits: string) => String.fromCharCode(parseInt(digits, 8)),
  );
}

/** Decodes the text of `/proc/self/mountinfo`. Lines that are none are left out. */
export function parseMountinfo(text: string): MountedAt[] {
  const mounts: MountedAt[] = [];
  for (const line of text.split("\n")) {
    const fields = line.split(" ");
    const separator = fields.indexOf("-", 6);
    const [device, , mountPoint, options] = fields.slice(2);
    const [type, source, superOptions] = separator < 0 ? [] : fields.slice(separator + 1);
    if (
      device === undefined || mountPoint === undefined || options === undefined ||
      type === undefined || source === undefined || superOptions === undefined
    ) continue;
    mounts.push({
      mountPoint: unescape(mountPoint),
      type,
      source: unescape(source),
      options: options.split(","),
      superOptions: superOptions.split(","),
      device,
    });
  }
  return mounts;
}

/** The tarbox mounts that this process sees, in the order they were mounted. */
export function tarboxMounts(): MountedAt[] {
  return parseMountinfo(Deno.readTextFileSync("/proc/self/mountinfo"))
    .filter((mounted) => mounted.type === "fuse.tarbox");
}

/** Whether Tarbox is what is mounted on `directory` (an absolute path without links), alive or dead. */
export async function isMountPoint(directory: string): Promise<boolean> {
  // Not stat(2): that fails on a mount whose server died, and blocks on one that hangs.
  const mounts = parseMountinfo(await Deno.readTextFile("/proc/self/mountinfo"));
  const top = mounts.findLast(({ mountPoint }) => mountPoint === directory);
  return top?.type === "fuse.tarbox";
}
