import { configFile } from "../base/config.ts";
import { TarboxError } from "../base/errors.ts";
import { resolveHome } from "../base/home.ts";
import { loadSettings, openDatabase } from "../mount/database.ts";
import { type GlobalOptions, print } from "./session.ts";

/** Oldest Linux whose FUSE protocol a mount speaks (spec/fuse.md). */
const KERNEL_MIN: readonly [major: number, minor: number] = [5, 4];

/** Bit of CAP_SYS_ADMIN, by which root may mount (capabilities(7), linux/capability.h). */
const CAP_SYS_ADMIN = 21n;

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly found: string;
  /** What to do when it is not well. */
  readonly hint?: string;
  /** What works without it is everything but this. */
  readonly only?: string;
}

/**
 * Checks what a mount needs of this machine, the configuration, and the database that it names.
 * @returns exit status: 0 when all is well that a mount needs
 */
export async function doctor(globals: GlobalOptions): Promise<number> {
  const configuration = await checkConfiguration(globals);
  const findings = [
    checkKernel(),
    await checkDevice(),
    await checkRights(),
    await checkOthers(),
    await checkTry(),
    configuration,
    // A configuration that cannot be read names no database.
    ...(configuration.ok ? [await checkDatabase(globals)] : []),
  ];
  if (globals.json) {
    await print(JSON.stringify(findings, null, 2) + "\n");
  } else {
    for (const { check, ok, found, hint, only } of findings) {
      const word = ok ? "ok  " : only === undefined ? "FAIL" : "note";
      await print(`${word}  ${check}: ${found}\n`);
      if (!ok && only !== undefined) await print(`      only ${only} needs it\n`);
      if (!ok && hint !== undefined) await print(`      ${hint}\n`);
    }
  }
  return findings.every(({ ok, only }) => ok || only !== undefined) ? 0 : 1;
}

function checkKernel(): Finding {
  const check = "kernel";
  const release = Deno.osRelease();
  if (Deno.build.os !== "linux") {
    return {
      check,
      ok: false,
      found: `${Deno.build.os} ${release}`,
      hint: "mounts need Linux; what needs no mount (ls, cat, diff, export, import, …) works",
    };
  }
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  const [least, leastMinor] = KERNEL_MIN;
  return {
    check,
    ok: major > least || (major === least && minor >= leastMinor),
    found: `Linux ${release}`,
    hint: `Linux ${KERNEL_MIN.join(".")} or newer is needed`,
  };
}

async function checkDevice(): Promise<Finding> {
  const check = "/dev/fuse";
  let mode: string;
  try {
    const info = await Deno.stat(check);
    mode = `there, mode 0${((info.mode ?? 0) & 0o777).toString(8)}`;
  } catch (error) {
    return {
      check,
      ok: false,
      found: error instanceof Deno.errors.NotFound ? "missing" : String(error),
      hint: "modprobe fuse; in a container, pass the device in (--device /dev/fuse)",
    };
  }
  try {
    (await Deno.open(check, { read: true, write: true })).close();
    return { check, ok: true, found: mode };
  } catch (error) {
    return {
      check,
      ok: false,
      found: `${mode}, but opening it fails: ${(error as Error).message}`,
      hint: "chmod 0666 /dev/fuse, as distributions have it; " +
        "in a container, pass the device in (--device /dev/fuse)",
    };
  }
}

async function checkRights(): Promise<Finding> {
  const check = "right to mount";
  if (Deno.uid() === 0) {
    const status = await Deno.readTextFile("/proc/self/status").catch(() => "");
    const [, effective] = status.match(/^CapEff:\s*([0-9a-f]+)$/m) ?? [];
    const ok = effective !== undefined && (BigInt(`0x${effective}`) >> CAP_SYS_ADMIN & 1n) === 1n;
    return {
      check,
      ok,
      found: ok ? "root" : "root without CAP_SYS_ADMIN",
      hint: "in a container, give it the capability (--cap-add SYS_ADMIN)",
    };
  }
  const found = await new Deno.Command("fusermount3", { args: ["--version"] }).output().catch(() =>
    null
  );
  return {
    check,
    ok: found?.success ?? false,
    found: found === null
      ? "fusermount3 is missing"
      : new TextDecoder().decode(found.stdout).trim(),
    hint: "install the package fuse3, or mount as root",
  };
}

async function checkOthers(): Promise<Finding> {
  const check = "other users in a mount";
  if (Deno.uid() === 0) return { check, ok: true, found: "always, for root's mounts" };
  const configuration = await Deno.readTextFile("/etc/fuse.conf").catch(() => "");
  const ok = /^\s*user_allow_other\s*$/m.test(configuration);
  return {
    check,
    ok,
    found: ok ? "/etc/fuse.conf has user_allow_other" : "/etc/fuse.conf has no user_allow_other",
    hint: "put the line user_allow_other into /etc/fuse.conf",
    only: "`tarbox mount --allow-other`",
  };
}

async function checkTry(): Promise<Finding> {
  const check = "private mounts";
  const user = Deno.uid() === 0 ? [] : ["--user", "--map-root-user"];
  const args = [...user, "--mount", "--propagation", "private", "--", "true"];
  const ended = await new Deno.Command("unshare", { args }).output().catch(() => null);
  return {
    check,
    ok: ended?.success ?? false,
    found: ended === null
      ? "unshare is missing"
      : ended.success
      ? "unshare works"
      : new TextDecoder().decode(ended.stderr).trim(),
    hint: ended === null
      ? "install the package util-linux"
      : "allow mount namespaces, and user namespaces for ordinary users",
    only: "`tarbox try` in the place of a mount",
  };
}

async function checkConfiguration(globals: GlobalOptions): Promise<Finding> {
  const check = "configuration";
  try {
    const { own } = await loadSettings(globals);
    const file = await configFile(globals.config ?? null) ?? "defaults";
    const url = Deno.env.get("TARBOX_DATABASE_URL") ?? "";
    const where = own === null ? "the embedded engine" : `${own.database} at ${own.host}`;
    return {
      check,
      ok: true,
      found: `${file}; database: ${where}${url === "" ? "" : " (TARBOX_DATABASE_URL)"}`,
    };
  } catch (error) {
    if (!(error instanceof TarboxError)) throw error;
    return { check, ok: false, found: error.message, hint: error.hint };
  }
}

async function checkDatabase(globals: GlobalOptions): Promise<Finding> {
  const check = "database";
  try {
    const { settings, close } = await openDatabase(globals);
    await close();
    const { own } = settings;
    return {
      check,
      ok: true,
      found: own === null ? `embedded engine in ${resolveHome()} answers` : `${own.host} answers`,
    };
  } catch (error) {
    if (!(error instanceof TarboxError)) throw error;
    return { check, ok: false, found: error.message, hint: error.hint };
  }
}
