import type { Chain } from "./rows.ts";

/** What the head of a workspace may hold; null: no bound. */
export interface Limits {
  /** Bytes that are no hole, as `st_blocks` counts them, over all its inodes. */
  readonly bytes: number | null;
  readonly inodes: number | null;
}

/** What a state holds. */
export interface Usage {
  readonly bytes: number;
  readonly inodes: number;
}

/** Quotas of workspaces. */
export interface Quotas {
  limits(workspace: number): Promise<Limits>;
  setLimits(workspace: number, limits: Limits): Promise<void>;
  /** Counts what a state holds: costs its size. */
  usage(chain: Chain): Promise<Usage>;
}

/** No bounds. */
export const UNLIMITED: Limits = { bytes: null, inodes: null };
