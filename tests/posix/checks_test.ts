/** Every POSIX check, on a native directory (its control) and on a real mount. Needs root. */
import { ACL_CHECKS } from "./acls.ts";
import type { PosixCheck } from "./check.ts";
import { DATA_CHECKS } from "./data.ts";
import { LINK_CHECKS } from "./links.ts";
import { LOCK_CHECKS } from "./locks.ts";
import { withMounted } from "./mounted.ts";
import { NAME_CHECKS } from "./names.ts";
import { PERMISSION_CHECKS } from "./permissions.ts";
import { TIME_CHECKS } from "./times.ts";
import { XATTR_CHECKS } from "./xattrs.ts";

const CHECKS: readonly PosixCheck[] = [
  ...PERMISSION_CHECKS,
  ...ACL_CHECKS,
  ...NAME_CHECKS,
  ...LINK_CHECKS,
  ...TIME_CHECKS,
  ...XATTR_CHECKS,
  ...DATA_CHECKS,
  ...LOCK_CHECKS,
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
