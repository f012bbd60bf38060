/** Commits without gaps, and what the collector of garbage needs (spec/garbage.md). */
export const GARBAGE = `
alter table lineages add column written_at timestamptz not null default now();
alter table tenants add column collecting boolean not null default false;
create table content_uses (
  tenant_id integer not null,
  hash bytea not null,
  primary key (tenant_id, hash)
);
create function tarbox_check_lease(t integer, w integer, e bigint) returns void
language plpgsql as $$
begin
  perform 1 from workspaces
    where tenant_id = t and workspace_id = w and epoch = e and holder is not null for update;
  if not found then raise exception using errcode = 'TB001', message = 'fenced'; end if;
end $$;
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
  if found.committed_sequence <> s - 1 then
    raise exception using errcode = 'TB003', message = 'the batch before is not there';
  end if;
  if found.head_lineage <> l or found.head_ordinal <> o then
    raise exception using errcode = 'TB001', message = 'the head has moved';
  end if;
  update workspaces set committed_sequence = s, heartbeat = now(), version = version + 1
   where tenant_id = t and workspace_id = w;
end $$;
`;
