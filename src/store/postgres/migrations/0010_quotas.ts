/** What the head of a workspace may hold (spec/data-model.md). */
export const QUOTAS = `
alter table workspaces add column quota_bytes bigint;
alter table workspaces add column quota_inodes bigint;
`;
