/** Node ids from here up stand for an inode whose own number the kernel knows as another file. */
const ALIAS_BASE = 2 ** 51;

/**
 * The node id by which the kernel knows each inode: its number, but for files that a switch replaced
 * while they were in use. The kernel's id then stays with the file that was there before, and the
 * inode of that number in the new tree goes by an alias.
 */
export class NodeIds {
  readonly #inodes = new Map<number, number>();
  readonly #ids = new Map<number, number>();
  #nextAlias = ALIAS_BASE;

  /** Whether every id is the inode's number. */
  get plain(): boolean {
    return this.#inodes.size === 0;
  }

  /** The inode of a node id. */
  inode(id: number): number {
    return this.#inodes.get(id) ?? id;
  }

  /** The node id of an inode. */
  id(inode: number): number {
    return this.#ids.get(inode) ?? inode;
  }

  /** What the kernel knows as `inode` is `replacement` from now on; `inode` gets another id. */
  replace(inode: number, replacement: number): void {
    this.#set(this.id(inode), replacement);
    this.#set(this.#nextAlias++, inode);
  }

  /** The kernel has no reference to an inode any more. */
  forgotten(inode: number): void {
    const id = this.#ids.get(inode);
    // Its own number may still be the id of what was replaced: then the alias stays.
    if (id === undefined || (id >= ALIAS_BASE && this.#inodes.has(inode))) return;
    this.#ids.delete(inode);
    this.#inodes.delete(id);
  }

  #set(id: number, inode: number): void {
    this.#inodes.set(id, inode);
    this.#ids.set(inode, id);
  }
}
