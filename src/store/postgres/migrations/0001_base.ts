/** Tenants, workspaces, lineages, layers, and the versioned rows of trees. */
export const BASE = `
create table tenants (
  tenant_id integer primary key generated always as identity,
  name text not null unique,
  created_at timestamptz not null default now()
);
create table lineages (
  tenant_id integer not null references tenants,
  lineage integer not null generated always as identity,
  parent_lineage integer,
  parent_ordinal integer,
  next_inode bigint not null,
  next_cookie bigint not null,
  primary key (tenant_id, lineage),
  foreign key (tenant_id, parent_lineage) references lineages
);
create table workspaces (
  tenant_id integer not null references tenants,
  workspace_id integer not null generated always as identity,
  name text not null,
  head_lineage integer not null,
  head_ordinal integer not null,
  base_layer integer,
  created_at timestamptz not null default now(),
  epoch bigint not null default 0,
  holder jsonb,
  heartbeat timestamptz not null default 'epoch',
  committed_sequence bigint not null default 0,
  primary key (tenant_id, workspace_id),
  unique (tenant_id, name),
  foreign key (tenant_id, head_lineage) references lineages
);
create table layers (
  tenant_id integer not null references tenants,
  layer_id integer not null generated always as identity,
  uid text not null,
  workspace_id integer not null,
  name text not null,
  lineage integer not null,
  ordinal integer not null,
  parent integer,
  message text not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, layer_id),
  unique (tenant_id, uid),
  unique (tenant_id, workspace_id, name),
  foreign key (tenant_id, workspace_id) references workspaces,
  foreign key (tenant_id, lineage) references lineages,
  foreign key (tenant_id, parent) references layers
);
alter table workspaces add foreign key (tenant_id, base_layer) references layers;

create table inodes (
  tenant_id integer not null,
  lineage integer not null,
  inode bigint not null,
  born integer not null,
  died integer not null,
  deleted boolean not null,
  mode integer not null,
  uid bigint not null,
  gid bigint not null,
  nlink integer not null,
  size bigint not null,
  allocated bigint not null,
  rdev bigint not null,
  atime bigint not null,
  mtime bigint not null,
  ctime bigint not null,
  btime bigint not null,
  target bytea,
  xattrs bytea,
  primary key (tenant_id, lineage, inode, died)
);
create index idx_inode_born on inodes (tenant_id, lineage, born);
create index idx_inode_died on inodes (tenant_id, lineage, died) where died < 2147483647;
create index idx_inode_orphan on inodes (tenant_id, lineage) where nlink = 0 and died = 2147483647;

create table dentries (
  tenant_id integer not null,
  lineage integer not null,
  parent bigint not null,
  name bytea not null,
  born integer not null,
  died integer not null,
  deleted boolean not null,
  child bigint not null,
  cookie bigint not null,
  primary key (tenant_id, lineage, parent, name, died)
);
create index idx_inode_parent on dentries (tenant_id, lineage, parent, cookie);
create index idx_inode_name on dentries (tenant_id, name);
create index idx_dentry_child on dentries (tenant_id, lineage, child);
create index idx_dentry_born on dentries (tenant_id, lineage, born);
create index idx_dentry_died on dentries (tenant_id, lineage, died) where died < 2147483647;

create table blocks (
  tenant_id integer not null,
  lineage integer not null,
  inode bigint not null,
  index bigint not null,
  born integer not null,
  died integer not null,
  deleted boolean not null,
  hash bytea not null,
  length integer not null
);
create unique index idx_blocks_inode on blocks (tenant_id, lineage, inode, index, died);
alter table blocks add primary key using index idx_blocks_inode;

create table contents (
  tenant_id integer not null,
  hash bytea not null,
  data bytea not null,
  primary key (tenant_id, hash)
);
alter table contents alter column data set storage external;

create table requests (
  tenant_id integer not null references tenants,
  request_id bigint not null generated always as identity,
  workspace_id integer not null,
  command text not null,
  argument jsonb,
  reply jsonb,
  created_at timestamptz not null default now(),
  primary key (tenant_id, request_id),
  foreign key (tenant_id, workspace_id) references workspaces on delete cascade
);
create index idx_requests_open on requests (tenant_id, workspace_id) where reply is null;

create function tarbox_begin_commit(
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
  update workspaces set committed_sequence = s, heartbeat = now()
   where tenant_id = t and workspace_id = w;
end $$;
`;
