/**
 * Indexes that skip what has died, so that reads of a head cost the same after any number of layers;
 * indexes for the foreign keys that deletions check; requests that expire and hold any JSON text.
 */
export const READS = `
drop index idx_inode_parent;
create index idx_inode_parent on dentries (tenant_id, lineage, parent, cookie)
  where died = 2147483647;
create index idx_dentry_gone on dentries (tenant_id, lineage, parent, died)
  where died < 2147483647;
drop index idx_dentry_child;
create index idx_dentry_child on dentries (tenant_id, lineage, child, died);
alter index idx_blocks_inode rename to blocks_pkey;
create index idx_blocks_inode on blocks (tenant_id, lineage, inode, index)
  where died = 2147483647;
create index idx_blocks_gone on blocks (tenant_id, lineage, inode, died)
  where died < 2147483647;

create index idx_layer_parent on layers (tenant_id, parent);
create index idx_layer_lineage on layers (tenant_id, lineage);
create index idx_workspace_base on workspaces (tenant_id, base_layer);
create index idx_workspace_head on workspaces (tenant_id, head_lineage);
create index idx_lineage_parent on lineages (tenant_id, parent_lineage);

alter table requests
  alter column argument type json using argument::json,
  alter column reply type json using reply::json,
  add column expires_at timestamptz not null default 'infinity';
`;
