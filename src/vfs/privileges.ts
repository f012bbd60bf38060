/**
 * setuid and setgid: who may set them, and when they go (man 7 inode, 2 chown, 2 write). The kernel
 * leaves the second to the file system (FUSE_HANDLE_KILLPRIV_V2); file capabilities it removes itself.
 */
import { S_ISGID, S_ISUID } from "../base/modes.ts";
import type { Node } from "./node.ts";
import type { Context } from "./operations.ts";
import type { Tree } from "./tree.ts";

/** Capability to keep both bits (man 7 capabilities). */
export const CAP_FSETID = 4;

/** Whether the caller may have setgid for this group: a member, or who has {@link CAP_FSETID}. */
export function isMember(context: Context, gid: number): boolean {
  return context.gid === gid || context.groups().includes(gid) || context.capable(CAP_FSETID);
}

/**
 * The mode once content or owner were changed: without setuid; and without setgid, unless the group
 * may not execute and the caller may have setgid for it.
 */
export function withoutPrivileges(
  context: Context,
  { mode, gid }: { readonly mode: number; readonly gid: number },
): number {
  mode &= ~S_ISUID;
  if ((mode & S_ISGID) === 0) return mode;
  return (mode & 0o010) === 0 && isMember(context, gid) ? mode : mode & ~S_ISGID;
}

/** Takes the bits away from a file whose content was just changed. */
export function dropPrivileges(tree: Tree, context: Context, node: Node): void {
  if ((node.row.mode & (S_ISUID | S_ISGID)) === 0) return;
  tree.update(node, { mode: withoutPrivileges(context, node.row) });
}

/** The same where the kernel does not say whether the caller may keep them. */
export function dropUnlessCapable(tree: Tree, context: Context, node: Node): void {
  const has = (node.row.mode & (S_ISUID | S_ISGID)) !== 0;
  if (has && !context.capable(CAP_FSETID)) dropPrivileges(tree, context, node);
}
