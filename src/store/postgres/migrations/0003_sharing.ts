/** Several mounts of one workspace (spec/coherence.md). */
export const SHARING = `
alter table workspaces add column version bigint not null default 0;
alter table workspaces add column lock_version bigint not null default 0;
create table mounts (
  tenant_id integer not null references tenants,
  mount_id bigint not null generated always as identity,
  workspace_id integer not null,
  holder jsonb not null,
  heartbeat timestamptz not null default now(),
  wants timestamptz not null default 'epoch',
  primary key (tenant_id, mount_id),
  foreign key (tenant_id, workspace_id) references workspaces on delete cascade
);
create index idx_mounts_workspace on mounts (tenant_id, workspace_id);
create table changes (
  tenant_id integer not null,
  workspace_id integer not null,
  version bigint not null,
  inodes bigint[] not null,
  parents bigint[] not null,
  names bytea[] not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, workspace_id, version),
  foreign key (tenant_id, workspace_id) references workspaces on delete cascade
);
create table locks (
  tenant_id integer not null,
  workspace_id integer not null,
  mount_id bigint not null,
  inode bigint not null,
  flock boolean not null,
  owner text not null,
  first_byte bigint not null,
  last_byte bigint not null,
  exclusive boolean not null,
  pid integer not null,
  primary key (tenant_id, mount_id, inode, flock, owner, first_byte),
  foreign key (tenant_id, mount_id) references mounts on delete cascade
);
create index idx_locks_workspace on locks (tenant_id, workspace_id);

create or replace function tarbox_begin_commit(
  t integer, w integer, e bigint, l integer, o integer, s bigint
) returns void language plpgsql as $$
declare found workspaces;
begin
  select * into found from workspaces where tenant_id = t and workspace_id = w for update;
  if found.epoch <> e or found.holder is null then
    raise exception using errcode = 'TB001', message = 'fenced';
  end if;
  if found.committed_sequence >= s then
    raise exception using errcode = 'TB002', message = 'committed already';
  end if;
  if found.head_lineage <> l or found.head_ordinal <> o then
    raise exception using errcode = 'TB001', message = 'the head has moved';
  end if;
  update workspaces set committed_sequence = s, heartbeat = now(), version = version + 1
   where tenant_id = t and workspace_id = w;
end $$;
`;
