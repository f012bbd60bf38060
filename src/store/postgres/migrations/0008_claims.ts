/** What several mounts of a workspace need of requests and of changes that no mount made. */
export const CLAIMS = `
alter table requests add column claimed_at timestamptz;

create or replace function tarbox_begin_amend(t integer, w integer, e bigint, l integer, o integer)
returns void language plpgsql as $$
declare found workspaces;
begin
  select * into found from workspaces where tenant_id = t and workspace_id = w for update;
  if (e is null and found.holder is not null)
     or (e is not null and (found.holder is null or found.epoch <> e)) then
    raise exception using errcode = 'TB001', message = 'fenced';
  end if;
  if found.head_lineage <> l or found.head_ordinal <> o then
    raise exception using errcode = 'TB001', message = 'the head has moved';
  end if;
  update workspaces set head_ordinal = o + 1, version = version + 1
   where tenant_id = t and workspace_id = w;
end $$;
`;
