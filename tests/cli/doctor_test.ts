/** What `tarbox doctor` says where something is wrong; tests/e2e has a machine where all is well. */
import assert from "node:assert/strict";
import { join } from "node:path";

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly found: string;
  readonly hint?: string;
  readonly only?: string;
}

/** Doctor's exit status and what it found not well; the database is one that nobody serves. */
async function doctor(
  prefix: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number; wrong: Finding[] }> {
  const command = [...prefix, Deno.execPath(), "run", "-A", "--frozen", "main.ts"];
  const { code, stdout } = await new Deno.Command(command[0]!, {
    args: [...command.slice(1), "doctor", "--json"],
    env: { TARBOX_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none", ...env },
  }).output();
  const findings: Finding[] = JSON.parse(new TextDecoder().decode(stdout));
  return { code, wrong: findings.filter(({ ok }) => !ok) };
}

Deno.test("doctor names the key of a configuration that is wrong, and asks no database", async () => {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-doctor-" });
  try {
    const config = join(directory, "tarbox.toml");
    await Deno.writeTextFile(config, "[cache]\nblock_cache_sise = 1\n");
    const { code, wrong } = await doctor([], { TARBOX_CONFIG: config });
    assert.equal(code, 1);
    assert.deepEqual(wrong, [{
      check: "configuration",
      ok: false,
      found: `configuration ${config}: cache.block_cache_sise is unknown`,
      hint: "did you mean block_cache_size?",
    }]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("doctor tells a root that may not mount, and what only needs private mounts", async () => {
  const dropped = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"];
  const { code, wrong } = await doctor(dropped, {});
  assert.equal(code, 1);
  const [rights, mounts, database] = wrong;
  assert.equal(rights!.found, "root without CAP_SYS_ADMIN");
  assert.match(rights!.hint!, /--cap-add SYS_ADMIN/);
  assert.match(mounts!.only!, /tarbox try/);
  assert.equal(database!.check, "database");
  assert.equal(wrong.length, 3);
});
