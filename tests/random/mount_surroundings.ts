/** A real mount as a random program's target: what remounts, checks and layers are there. */
import type { Installation } from "../e2e/installation.ts";
import type { Surroundings } from "./directory_target.ts";

/** Surroundings of a workspace that is mounted on the mount point of an installation. */
export function mountSurroundings(tarbox: Installation, workspace: string): Surroundings {
  const run = (...args: string[]) => tarbox.tarbox("--workspace", workspace, ...args);
  return {
    async remount() {
      await run("umount", tarbox.mountPoint);
      await run("mount", tarbox.mountPoint);
    },
    async check() {
      // It fails, and names them, when there are violations.
      await run("fsck");
      return [];
    },
    layers: {
      checkpoint: async (name) => void await run("checkpoint", name),
      switchTo: async (name) => void await run("switch", name),
    },
  };
}
