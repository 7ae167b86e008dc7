-- The database itself refuses to alter entries. Partitions begin, end and go through functions that run with the rights of their owner.

CREATE FUNCTION helm_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of %: log entries are never altered, partitions that are closed take no more', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'HE001',
              HINT = 'Retention takes away whole partitions: helmctl retention.';
END
$$;

-- Row triggers are inherited by partitions (AFTER: PostgreSQL 12 has no other), statement triggers are not: each partition gets its own.
CREATE TRIGGER helm_immutable_row AFTER UPDATE OR DELETE ON entry FOR EACH ROW EXECUTE FUNCTION helm_refuse();
CREATE TRIGGER helm_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON entry FOR EACH STATEMENT EXECUTE FUNCTION helm_refuse();
CREATE TRIGGER helm_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON service FOR EACH STATEMENT EXECUTE FUNCTION helm_refuse();
ALTER TABLE entry ENABLE ALWAYS TRIGGER helm_immutable;
ALTER TABLE service ENABLE ALWAYS TRIGGER helm_immutable;

-- Of a sealed partition only its size on disk may still be noted.
CREATE TRIGGER helm_sealed BEFORE UPDATE ON partition FOR EACH ROW
WHEN (OLD.closed IS NOT NULL AND (OLD.id, OLD.class, OLD.opened, OLD.before, OLD.closed, OLD.head, OLD.rows, OLD.bytes, OLD.at_low, OLD.at_high, OLD.services)
      IS DISTINCT FROM (NEW.id, NEW.class, NEW.opened, NEW.before, NEW.closed, NEW.head, NEW.rows, NEW.bytes, NEW.at_low, NEW.at_high, NEW.services))
EXECUTE FUNCTION helm_refuse();

CREATE FUNCTION helm_partition_table(p_id bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT format('entry_%s_%s', p_id >> 24, p_id & 16777215)
$$;

-- Begins a partition: the next of its instance, at the end of its class's chain. Asked again, it does nothing.
CREATE FUNCTION helm_open_partition(p_id bigint, p_class text, p_opened bigint, p_before bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    t text := helm_partition_table(p_id);
    state class_state;
    who record;
BEGIN
    INSERT INTO class_state (instance, class, head) VALUES (p_id >> 24, p_class, p_before) ON CONFLICT DO NOTHING;
    SELECT * INTO state FROM class_state WHERE instance = p_id >> 24 AND class = p_class FOR UPDATE;
    IF state.open = p_id THEN
        RETURN;
    END IF;
    IF state.open IS NOT NULL THEN
        RAISE EXCEPTION 'partition % of class % is still open', state.open, p_class;
    END IF;
    IF state.head <> p_before THEN
        RAISE EXCEPTION 'partition % does not begin where the chain of class % ends', p_id, p_class;
    END IF;
    IF EXISTS (SELECT 1 FROM partition WHERE id BETWEEN p_id AND (p_id | 16777215)) THEN
        RAISE EXCEPTION 'partition % is not the next of its instance', p_id;
    END IF;
    INSERT INTO partition (id, class, opened, before) VALUES (p_id, p_class, p_opened, p_before);
    UPDATE class_state SET open = p_id WHERE instance = p_id >> 24 AND class = p_class;
    -- Made apart and attached: readers of the parent are not held up.
    EXECUTE format('CREATE TABLE %I (LIKE entry INCLUDING ALL)', t);
    EXECUTE format('ALTER TABLE entry ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', t, p_id << 20, (p_id + 1) << 20);
    EXECUTE format('CREATE TRIGGER helm_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION helm_refuse()', t);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER helm_immutable', t);
    FOR who IN SELECT DISTINCT a.grantee::regrole::text AS name FROM pg_class c, aclexplode(c.relacl) a
               WHERE c.oid = 'entry'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner) LOOP
        EXECUTE format('GRANT SELECT, INSERT ON %I TO %s', t, who.name);
    END LOOP;
END
$$;

-- Ends a partition where the chain stands: it takes no more entries.
CREATE FUNCTION helm_seal_partition(p_id bigint, p_closed bigint, p_head bytea, p_services text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    t text := helm_partition_table(p_id);
    part partition;
    state class_state;
BEGIN
    SELECT * INTO part FROM partition WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no partition %', p_id;
    END IF;
    IF part.closed IS NOT NULL AND part.head = p_head THEN
        RETURN;
    END IF;
    SELECT * INTO state FROM class_state WHERE instance = p_id >> 24 AND class = part.class FOR UPDATE;
    IF state.open IS DISTINCT FROM p_id OR state.head <> p_head OR p_closed < part.opened THEN
        RAISE EXCEPTION 'partition % does not end here', p_id;
    END IF;
    UPDATE partition SET closed = p_closed, head = p_head, services = p_services WHERE id = p_id;
    UPDATE class_state SET open = NULL WHERE instance = p_id >> 24 AND class = part.class;
    EXECUTE format('CREATE TRIGGER helm_closed BEFORE INSERT ON %I FOR EACH ROW EXECUTE FUNCTION helm_refuse()', t);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER helm_closed', t);
END
$$;

-- The indexes that are dear while entries come in.
CREATE FUNCTION helm_finish_partition(p_id bigint, p_trigrams boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    t text := helm_partition_table(p_id);
    brin regclass;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM partition WHERE id = p_id AND closed IS NOT NULL) THEN
        RAISE EXCEPTION 'partition % is not closed', p_id;
    END IF;
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I (trace_id) WHERE trace_id IS NOT NULL', t || '_trace', t);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I (user_id, at) WHERE user_id IS NOT NULL', t || '_user', t);
    IF p_trigrams AND EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm') THEN
        EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I USING gin ((lower(coalesce(plain, message) COLLATE "C")) %s.gin_trgm_ops)',
                       t || '_text', t,
                       (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'));
    END IF;
    FOR brin IN SELECT x.indexrelid FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
                WHERE x.indrelid = t::regclass AND m.amname = 'brin' LOOP
        PERFORM brin_summarize_new_values(brin);
    END LOOP;
    EXECUTE format('ANALYZE %I', t);
    UPDATE partition SET disk = pg_total_relation_size(t::regclass) WHERE id = p_id;
END
$$;

-- Takes a partition away: a closed one, the oldest of its class, whose going is on record in the log of its instance.
CREATE FUNCTION helm_remove_partition(p_id bigint, p_class text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    t text := helm_partition_table(p_id);
    part partition;
BEGIN
    SELECT * INTO part FROM partition WHERE id = p_id AND class = p_class FOR UPDATE;
    IF NOT FOUND THEN
        RETURN; -- gone before: asked again
    END IF;
    IF part.closed IS NULL THEN
        RAISE EXCEPTION 'partition % is open: only closed ones go', p_id USING ERRCODE = 'HE001';
    END IF;
    IF EXISTS (SELECT 1 FROM partition WHERE id < p_id AND id >> 24 = p_id >> 24 AND class = p_class) THEN
        RAISE EXCEPTION 'partition % is not the oldest of class %', p_id, p_class USING ERRCODE = 'HE001';
    END IF;
    -- Of use where the role that asks could not drop the table anyway. What was there before Helm (instance 0) has no helmd that writes under
    -- its number: any instance may put it on record.
    IF session_user <> current_user AND NOT EXISTS (SELECT 1 FROM entry WHERE service = (SELECT id FROM service WHERE name = 'helm') AND source = 2
                   AND id >= (p_id + 1) << 20
                   AND (p_id >> 24 = 0 OR id < ((p_id >> 24) + 1) << 44)
                   AND context LIKE '%"removed"%' AND context LIKE '%' || encode(part.head, 'hex') || '%') THEN
        RAISE EXCEPTION 'the removal of partition % is not on record', p_id USING ERRCODE = 'HE001';
    END IF;
    EXECUTE format('DROP TABLE %I', t);
    DELETE FROM count_minute WHERE partition = p_id;
    DELETE FROM partition WHERE id = p_id;
END
$$;

-- Rights of a role that writes and reads, and alters nothing. Run by the owner; tables that are not the log's are given whole.
CREATE FUNCTION helm_grant_writer(p_role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', p_role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION helm_open_partition, helm_seal_partition, helm_finish_partition, helm_remove_partition TO %I', p_role);
    FOR t IN SELECT c.oid::regclass::text AS name, c.relname, c.relkind, c.relispartition FROM pg_class c
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND pg_has_role(c.relowner, 'USAGE') LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, %I', t.name, p_role);
        IF t.relkind = 'S' THEN
            EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO %I', t.name, p_role);
        ELSIF t.relkind = 'v' OR t.relname = 'helm_version' OR t.relname LIKE '%\_python' THEN
            EXECUTE format('GRANT SELECT ON %s TO %I', t.name, p_role);
        ELSIF t.relname IN ('entry', 'service') OR t.relispartition THEN
            EXECUTE format('GRANT SELECT, INSERT ON %s TO %I', t.name, p_role);
        ELSIF t.relname = 'partition' THEN
            EXECUTE format('GRANT SELECT, UPDATE (rows, bytes, at_low, at_high) ON %s TO %I', t.name, p_role);
        ELSIF t.relname IN ('class_state', 'cursor', 'sender', 'count_minute', 'instance') THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %s TO %I', t.name, p_role);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', t.name, p_role);
        END IF;
    END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION helm_open_partition, helm_seal_partition, helm_finish_partition, helm_remove_partition, helm_grant_writer FROM PUBLIC;
