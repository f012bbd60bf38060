/**
 * Indexes by which a layer is found by name, id, time, place and number, however many there are. Those
 * that begin with the workspace are partial: before there are statistics they look as good for a name
 * as the index of names, and only their own reads may use them.
 */
export const LAYERS = `
create index idx_layer_name on layers (tenant_id, name);
create index idx_layer_uid on layers (tenant_id, uid collate "C");
create index idx_layer_time on layers (tenant_id, workspace_id, created_at, layer_id)
  where created_at > '-infinity';
drop index idx_layer_lineage;
create index idx_layer_point on layers (tenant_id, lineage, ordinal, layer_id);
create index idx_layer_sealed on layers (tenant_id, lineage, created_at, layer_id);
create index idx_layer_number on layers (
  tenant_id, workspace_id,
  (substring(name from '^(.*)-[0-9]{1,15}$')),
  (substring(name from '-([0-9]{1,15})$')::bigint))
  where substring(name from '^(.*)-[0-9]{1,15}$') is not null;
`;
