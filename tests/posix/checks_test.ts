/** Every POSIX check, on a native directory (its control) and on a real mount. Needs root. */
import type { PosixCheck } from "./check.ts";
import { withMounted } from "./mounted.ts";
import { PERMISSION_CHECKS } from "./permissions.ts";

const CHECKS: readonly PosixCheck[] = [
  ...PERMISSION_CHECKS,
];

async function runAll(t: Deno.TestContext, place: string): Promise<void> {
  for (const [i, check] of CHECKS.entries()) {
    await t.step(check.name, async () => {
      const directory = `${place}/check-${i}`;
      await Deno.mkdir(directory, { mode: 0o755 });
      await check.run(directory);
    });
  }
}

Deno.test("a native directory passes the POSIX checks", async (t) => {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-native-" });
  await Deno.chmod(directory, 0o755);
  try {
    await runAll(t, directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a mount passes the POSIX checks", async (t) => {
  await withMounted([], async ({ directory }) => await runAll(t, directory));
});
