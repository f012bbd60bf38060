import { TarboxError } from "../base/errors.ts";
import { openDatabase } from "../mount/database.ts";
import { type GlobalOptions, print } from "./session.ts";

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly found: string;
  /** What to do when it is not well. */
  readonly hint?: string;
}

/**
 * Checks what a mount needs of this machine, and the database that the configuration names.
 * @returns exit status: 0 when all is well
 */
export async function doctor(globals: GlobalOptions): Promise<number> {
  const findings = [await checkDevice(), await checkFusermount(), await checkDatabase(globals)];
  if (globals.json) {
    await print(JSON.stringify(findings, null, 2) + "\n");
  } else {
    for (const { check, ok, found, hint } of findings) {
      await print(`${ok ? "ok  " : "FAIL"}  ${check}: ${found}\n`);
      if (!ok && hint !== undefined) await print(`      ${hint}\n`);
    }
  }
  return findings.every((finding) => finding.ok) ? 0 : 1;
}

async function checkDevice(): Promise<Finding> {
  const check = "/dev/fuse";
  try {
    const info = await Deno.stat(check);
    const mode = (info.mode ?? 0) & 0o777;
    const forAll = (mode & 0o006) === 0o006;
    return {
      check,
      ok: forAll || Deno.uid() === 0,
      found: `there, mode 0${mode.toString(8)}${forAll ? "" : ", for root only"}`,
      hint: "chmod 0666 /dev/fuse, as distributions have it",
    };
  } catch (error) {
    return {
      check,
      ok: false,
      found: error instanceof Deno.errors.NotFound ? "missing" : String(error),
      hint: "modprobe fuse; in a container, pass the device in (--device /dev/fuse)",
    };
  }
}

async function checkFusermount(): Promise<Finding> {
  const check = "fusermount3";
  if (Deno.uid() === 0) return { check, ok: true, found: "not needed as root" };
  const found = await new Deno.Command("fusermount3", { args: ["--version"] }).output().catch(() =>
    null
  );
  return {
    check,
    ok: found?.success ?? false,
    found: found === null ? "missing" : new TextDecoder().decode(found.stdout).trim(),
    hint: "install the package fuse3, or mount as root",
  };
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
      found: own === null ? "embedded engine answers" : `${own.host} answers`,
    };
  } catch (error) {
    if (!(error instanceof TarboxError)) throw error;
    return { check, ok: false, found: error.message, hint: error.hint };
  }
}
