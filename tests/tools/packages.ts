import { runBounded } from "./process.ts";

/** Programs that tests drive, and the Debian package of each. */
const PROGRAMS: readonly (readonly [program: string, debian: string])[] = [
  ["fusermount3", "fuse3"],
  ["setfattr", "attr"],
  ["setfacl", "acl"],
  ["git", "git"],
  ["sqlite3", "sqlite3"],
  ["cc", "build-essential"],
  ["make", "make"],
  ["perl", "perl-base"],
  ["skopeo", "skopeo"],
  ["umoci", "umoci"],
  ["docker-registry", "docker-registry"],
  ["buildah", "buildah"],
  ["containerd", "containerd"],
  ["busybox", "busybox-static"],
  ["setsid", "util-linux"],
  ["pkill", "procps"],
  // Replication for tests of failover.
  ["pg_createcluster", "postgresql"],
  ["psql", "postgresql-client"],
  ["pgbouncer", "pgbouncer"],
  ["python3", "python3"],
  ["openssl", "openssl"],
  ["script", "bsdutils"],
  // Shells that completions are for.
  ["zsh", "zsh"],
  ["fish", "fish"],
];

async function present(program: string): Promise<boolean> {
  const { success } = await new Deno.Command("/bin/sh", {
    args: ["-c", `PATH="$PATH:/usr/sbin:/sbin" command -v ${program}`],
    stdout: "null",
  }).output();
  return success;
}

/**
 * Installs what tests need, and `more`, where this machine lacks it, and opens `/dev/fuse` to users,
 * as distributions have it. Needs root only where something is missing.
 */
export async function packages(
  more: readonly (readonly [program: string, debian: string])[] = [],
): Promise<void> {
  const missing: string[] = [];
  for (const [program, debian] of [...PROGRAMS, ...more]) {
    if (!await present(program)) missing.push(debian);
  }
  if (missing.length > 0) {
    const install = () => apt("install", "-y", "--no-install-recommends", ...missing);
    if (!await install()) {
      await apt("update");
      if (!await install()) {
        throw new Error(`tests need these Debian packages; install them: ${missing.join(" ")}`);
      }
    }
  }
  if (Deno.uid() !== 0) return;
  await Deno.chmod("/dev/fuse", 0o666);
  const configuration = await Deno.readTextFile("/etc/fuse.conf").catch(() => "");
  if (!/^user_allow_other/m.test(configuration)) {
    await Deno.writeTextFile("/etc/fuse.conf", `${configuration}\nuser_allow_other\n`);
  }
}

async function apt(...args: string[]): Promise<boolean> {
  const { code, output } = await runBounded("/bin/sh", ["-c", 'exec apt-get "$@"', "sh", ...args], {
    limitSeconds: 180,
    env: { DEBIAN_FRONTEND: "noninteractive" },
  });
  if (code !== 0) console.log(output);
  return code === 0;
}
