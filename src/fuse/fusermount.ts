/**
 * Mounting as an ordinary user: `fusermount3`, which is setuid root, opens `/dev/fuse`, mounts it,
 * and passes the descriptor over a socket that it inherits (`_FUSE_COMMFD`).
 */
import { EBUSY } from "../base/errno.ts";
import { TarboxError } from "../base/errors.ts";
import { addressOf, close, errno, errorText, libc } from "./libc.ts";
import type { MountOptions } from "./mount.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const F_SETFD = 2;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;

const PROGRAM = "fusermount3";
/** Bound on a run of `fusermount3`, in milliseconds. */
const RUN_MS_MAX = 30_000;

async function run(
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ success: boolean; message: string }> {
  const signal = AbortSignal.timeout(RUN_MS_MAX);
  try {
    const command = new Deno.Command(PROGRAM, {
      args: [...args],
      env,
      signal,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    });
    const { success, stderr } = await command.output();
    const message = new TextDecoder().decode(stderr).trim().split("\n")[0] ?? "";
    return { success, message: message.replace(/^fusermount3: /, "") };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new TarboxError(
        `cannot find ${PROGRAM}, which mounts for users other than root`,
        "install the package fuse3, or mount as root",
      );
    }
    throw error;
  }
}

/** What to do about what `fusermount3` says. */
const HINTS: readonly (readonly [said: string, hint: string])[] = [
  ["allow_other", "add the line user_allow_other to /etc/fuse.conf"],
  [
    "could not determine username",
    "it mounts only for users with a name: add a line for this user id to /etc/passwd, or mount as root",
  ],
];

/** Takes the descriptor that waits at the socket; null when none does. */
function receiveDescriptor(socket: number): number | null {
  const payload = new Uint8Array(64);
  const vector = BigUint64Array.of(addressOf(payload), BigInt(payload.length));
  // struct cmsghdr: u64 length, i32 level, i32 type; then the descriptor.
  const control = new Uint8Array(64);
  // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags.
  const message = BigUint64Array.of(
    0n,
    0n,
    addressOf(new Uint8Array(vector.buffer)),
    1n,
    addressOf(control),
    BigInt(control.length),
    0n,
  );
  const received = libc().recvmsg(socket, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (Number(received) < 0 || message[5]! < 20n) return null;
  const view = new DataView(control.buffer);
  const rights = view.getInt32(8, true) === SOL_SOCKET && view.getInt32(12, true) === SCM_RIGHTS;
  return rights ? view.getInt32(16, true) : null;
}

/**
 * Mounts on `directory` as the user we are.
 * @returns the descriptor of `/dev/fuse`
 * @throws {TarboxError} with what `fusermount3` said
 */
export async function mountAsUser(directory: string, options: MountOptions): Promise<number> {
  const pair = new Int32Array(2);
  if (libc().socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
    throw new TarboxError(`cannot make a socket pair: ${errorText(errno())}`);
  }
  const ours = pair[0]!;
  const theirs = pair[1]!;
  try {
    // The child inherits what is not close-on-exec, under the same number.
    libc().fcntl(theirs, F_SETFD, 0);
    const settings = [
      "default_permissions",
      `fsname=${options.source ?? "tarbox"}`,
      "subtype=tarbox",
      options.readOnly ? "ro" : "rw",
      ...(options.allowOther ? ["allow_other"] : []),
    ].join(",");
    const { success, message } = await run(["-o", settings, "--", directory], {
      _FUSE_COMMFD: String(theirs),
    });
    const device = success ? receiveDescriptor(ours) : null;
    if (device === null) {
      throw new TarboxError(
        `cannot mount on ${directory}: ${message || `${PROGRAM} gave no descriptor`}`,
        HINTS.find(([said]) => message.includes(said))?.[1],
      );
    }
    return device;
  } finally {
    close(ours);
    close(theirs);
  }
}

/**
 * Unmounts as the user who mounted.
 * @throws {TarboxError} with what `fusermount3` said, when it is for another reason than being in use
 */
export async function unmountAsUser(
  directory: string,
  lazy: boolean,
): Promise<"detached" | "busy"> {
  const { success, message } = await run(["-u", ...(lazy ? ["-z"] : []), "--", directory], {
    LC_ALL: "C",
  });
  if (success) return "detached";
  if (message.endsWith(errorText(EBUSY))) return "busy";
  throw new TarboxError(`cannot unmount ${directory}: ${message}`);
}
