-- What is remembered of senders: bounded, forgotten in small steps, and several batches of one may be under way. Functions that run with the
-- owner's rights see nothing but the system's own names: whoever may create in `public` could else plant an overload that they would call.

ALTER TABLE sender ADD COLUMN seen bigint NOT NULL DEFAULT -1;  -- bit n: whether `number - n` was kept
ALTER TABLE sender ADD COLUMN at bigint NOT NULL DEFAULT 0;
UPDATE sender s SET at = c.arrived FROM class_state c WHERE c.instance = s.instance AND c.class = s.class;
CREATE INDEX once_key_at ON once_key (instance, class, at);

-- Who had a number first: where a home was copied, that tells the copy.
ALTER TABLE instance ADD COLUMN first_host text, ADD COLUMN first_home text;
UPDATE instance SET first_host = host, first_home = home;

-- One step of forgetting: keys that are old or more than fit, senders that sent nothing for long. 0: there is nothing left to forget.
CREATE FUNCTION helm_forget(p_instance smallint, p_key_age bigint, p_keys bigint, p_sender_age bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state public.class_state;
    oldest bigint;
    gone bigint;
    total bigint := 0;
BEGIN
    FOR state IN SELECT * FROM public.class_state WHERE instance = p_instance ORDER BY class LOOP
        oldest := state.arrived - p_key_age;
        oldest := greatest(oldest, (SELECT at FROM public.once_key WHERE instance = p_instance AND class = state.class
                                    ORDER BY at DESC OFFSET p_keys LIMIT 1));
        DELETE FROM public.once_key WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM public.once_key WHERE instance = p_instance AND class = state.class AND at < oldest ORDER BY at LIMIT 5000));
        GET DIAGNOSTICS gone = ROW_COUNT;
        total := total + gone;
        DELETE FROM public.sender WHERE instance = p_instance AND class = state.class AND at < state.arrived - p_sender_age;
        GET DIAGNOSTICS gone = ROW_COUNT;
        total := total + gone;
    END LOOP;
    RETURN total;
END
$$;
REVOKE EXECUTE ON FUNCTION helm_forget FROM PUBLIC;

-- As before (0001), with which of a sender's batches were kept.
CREATE FUNCTION helm_commit(
    p_instance smallint, p_class text, p_number bigint, p_partition bigint, p_head bytea, p_arrived bigint, p_queue bigint,
    p_rows integer, p_bytes bigint, p_low bigint, p_high bigint,
    c_minutes bigint[], c_services integer[], c_levels smallint[], c_n bigint[],
    k_services text[], k_segments bigint[], k_positions bigint[],
    s_names text[], s_numbers bigint[], s_seen bigint[], o_keys text[]
) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_open bigint;
BEGIN
    UPDATE public.class_state SET number = p_number, head = p_head, arrived = p_arrived, queue = coalesce(p_queue, queue)
    WHERE instance = p_instance AND class = p_class AND number = p_number - 1 RETURNING open INTO is_open;
    IF NOT FOUND THEN
        RETURN coalesce((SELECT number FROM public.class_state WHERE instance = p_instance AND class = p_class), 0);
    END IF;
    IF is_open IS DISTINCT FROM p_partition THEN
        RAISE EXCEPTION 'partition % is not the open one of class %', p_partition, p_class USING ERRCODE = 'HE003';
    END IF;
    UPDATE public.partition SET rows = p_rows, bytes = p_bytes, at_low = p_low, at_high = p_high WHERE id = p_partition;
    IF cardinality(c_n) > 0 THEN
        INSERT INTO public.count_minute AS c SELECT p_partition, u.* FROM unnest(c_minutes, c_services, c_levels, c_n) AS u
        ON CONFLICT (partition, minute, service, level) DO UPDATE SET n = c.n + excluded.n;
    END IF;
    IF cardinality(k_services) > 0 THEN
        INSERT INTO public.cursor SELECT p_instance, p_class, u.* FROM unnest(k_services, k_segments, k_positions) AS u
        ON CONFLICT (instance, class, service) DO UPDATE SET segment = excluded.segment, position = excluded.position;
    END IF;
    IF cardinality(s_names) > 0 THEN
        INSERT INTO public.sender (instance, class, name, number, seen, at)
        SELECT p_instance, p_class, u.*, p_arrived FROM unnest(s_names, s_numbers, s_seen) AS u
        ON CONFLICT (instance, class, name) DO UPDATE SET number = excluded.number, seen = excluded.seen, at = excluded.at;
    END IF;
    IF cardinality(o_keys) > 0 THEN
        INSERT INTO public.once_key SELECT p_instance, p_class, u, p_arrived FROM unnest(o_keys) AS u ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;

-- For helmds of before, that run while another one brings this: they knew a sender's last number only, and took all below it for kept.
CREATE OR REPLACE FUNCTION helm_commit(
    p_instance smallint, p_class text, p_number bigint, p_partition bigint, p_head bytea, p_arrived bigint, p_queue bigint,
    p_rows integer, p_bytes bigint, p_low bigint, p_high bigint,
    c_minutes bigint[], c_services integer[], c_levels smallint[], c_n bigint[],
    k_services text[], k_segments bigint[], k_positions bigint[],
    s_names text[], s_numbers bigint[], o_keys text[]
) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN public.helm_commit(
        p_instance, p_class, p_number, p_partition, p_head, p_arrived, p_queue, p_rows, p_bytes, p_low, p_high,
        c_minutes, c_services, c_levels, c_n, k_services, k_segments, k_positions,
        s_names, s_numbers, array_fill(-1::bigint, ARRAY[cardinality(s_numbers)]), o_keys);
END
$$;

-- As before (0002), with qualified names. HE003: what was asked for does not fit what is there by now; who asks reads where it stands.
CREATE OR REPLACE FUNCTION helm_partition_table(p_id bigint) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('entry_%s_%s', p_id >> 24, p_id & 16777215)
$$;
CREATE OR REPLACE FUNCTION helm_open_partition(p_id bigint, p_class text, p_opened bigint, p_before bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    t text := public.helm_partition_table(p_id);
    state public.class_state;
    who record;
BEGIN
    INSERT INTO public.class_state (instance, class, head) VALUES (p_id >> 24, p_class, p_before) ON CONFLICT DO NOTHING;
    SELECT * INTO state FROM public.class_state WHERE instance = p_id >> 24 AND class = p_class FOR UPDATE;
    IF state.open = p_id THEN
        RETURN;
    END IF;
    IF state.open IS NOT NULL THEN
        RAISE EXCEPTION 'partition % of class % is still open', state.open, p_class USING ERRCODE = 'HE003';
    END IF;
    IF state.head <> p_before THEN
        RAISE EXCEPTION 'partition % does not begin where the chain of class % ends', p_id, p_class USING ERRCODE = 'HE003';
    END IF;
    IF EXISTS (SELECT 1 FROM public.partition WHERE id BETWEEN p_id AND (p_id | 16777215)) THEN
        RAISE EXCEPTION 'partition % is not the next of its instance', p_id USING ERRCODE = 'HE003';
    END IF;
    INSERT INTO public.partition (id, class, opened, before) VALUES (p_id, p_class, p_opened, p_before);
    -- Behind a clock that was ahead for a while and is right again, times begin anew.
    UPDATE public.class_state SET open = p_id, arrived = least(arrived, p_opened) WHERE instance = p_id >> 24 AND class = p_class;
    -- Made apart and attached: readers of the parent are not held up.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.entry INCLUDING ALL)', t);
    EXECUTE format('ALTER TABLE public.entry ATTACH PARTITION public.%I FOR VALUES FROM (%s) TO (%s)', t, p_id << 20, (p_id + 1) << 20);
    EXECUTE format('CREATE TRIGGER helm_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON public.%I FOR EACH STATEMENT EXECUTE FUNCTION public.helm_refuse()', t);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER helm_immutable', t);
    FOR who IN SELECT DISTINCT a.grantee::regrole::text AS name FROM pg_class c, aclexplode(c.relacl) a
               WHERE c.oid = 'public.entry'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner) LOOP
        EXECUTE format('GRANT SELECT, INSERT ON public.%I TO %s', t, who.name);
    END LOOP;
END
$$;
CREATE OR REPLACE FUNCTION helm_seal_partition(p_id bigint, p_closed bigint, p_head bytea, p_services text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    t text := public.helm_partition_table(p_id);
    part public.partition;
    state public.class_state;
BEGIN
    SELECT * INTO part FROM public.partition WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no partition %', p_id USING ERRCODE = 'HE003';
    END IF;
    IF part.closed IS NOT NULL AND part.head = p_head THEN
        RETURN;
    END IF;
    SELECT * INTO state FROM public.class_state WHERE instance = p_id >> 24 AND class = part.class FOR UPDATE;
    IF state.open IS DISTINCT FROM p_id OR state.head <> p_head OR p_closed < part.opened THEN
        RAISE EXCEPTION 'partition % does not end here', p_id USING ERRCODE = 'HE003';
    END IF;
    UPDATE public.partition SET closed = p_closed, head = p_head, services = p_services WHERE id = p_id;
    UPDATE public.class_state SET open = NULL WHERE instance = p_id >> 24 AND class = part.class;
    EXECUTE format('CREATE TRIGGER helm_closed BEFORE INSERT ON public.%I FOR EACH ROW EXECUTE FUNCTION public.helm_refuse()', t);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER helm_closed', t);
END
$$;
CREATE OR REPLACE FUNCTION helm_finish_partition(p_id bigint, p_trigrams boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t text := public.helm_partition_table(p_id);
    brin regclass;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM public.partition WHERE id = p_id AND closed IS NOT NULL) THEN
        RAISE EXCEPTION 'partition % is not closed', p_id;
    END IF;
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON public.%I (trace_id) WHERE trace_id IS NOT NULL', t || '_trace', t);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON public.%I (user_id, at) WHERE user_id IS NOT NULL', t || '_user', t);
    IF p_trigrams AND EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm') THEN
        EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON public.%I USING gin ((lower(coalesce(plain, message) COLLATE "C")) %s.gin_trgm_ops)',
                       t || '_text', t,
                       (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'));
    END IF;
    FOR brin IN SELECT x.indexrelid FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
                WHERE x.indrelid = ('public.' || t)::regclass AND m.amname = 'brin' LOOP
        PERFORM brin_summarize_new_values(brin);
    END LOOP;
    EXECUTE format('ANALYZE public.%I', t);
    UPDATE public.partition SET disk = pg_total_relation_size(('public.' || t)::regclass) WHERE id = p_id;
END
$$;
CREATE OR REPLACE FUNCTION helm_remove_partition(p_id bigint, p_class text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    t text := public.helm_partition_table(p_id);
    part public.partition;
BEGIN
    -- One at a time: two that read the log and then want it for themselves would wait for each other.
    PERFORM pg_advisory_xact_lock(1751477357, 0);
    SELECT * INTO part FROM public.partition WHERE id = p_id AND class = p_class FOR UPDATE;
    IF NOT FOUND THEN
        RETURN; -- gone before: asked again
    END IF;
    IF part.closed IS NULL THEN
        RAISE EXCEPTION 'partition % is open: only closed ones go', p_id USING ERRCODE = 'HE001';
    END IF;
    IF EXISTS (SELECT 1 FROM public.partition WHERE id < p_id AND id >> 24 = p_id >> 24 AND class = p_class) THEN
        RAISE EXCEPTION 'partition % is not the oldest of class %', p_id, p_class USING ERRCODE = 'HE001';
    END IF;
    -- Of use where the role that asks could not drop the table anyway. What was there before Helm (instance 0) has no helmd that writes under
    -- its number: any instance may put it on record.
    IF session_user <> current_user AND NOT EXISTS (SELECT 1 FROM public.entry WHERE service = (SELECT id FROM public.service WHERE name = 'helm') AND source = 2
                   AND id >= (p_id + 1) << 20
                   AND (p_id >> 24 = 0 OR id < ((p_id >> 24) + 1) << 44)
                   AND context LIKE '%"removed"%' AND context LIKE '%' || encode(part.head, 'hex') || '%') THEN
        RAISE EXCEPTION 'the removal of partition % is not on record', p_id USING ERRCODE = 'HE001';
    END IF;
    EXECUTE format('DROP TABLE public.%I', t);
    DELETE FROM public.count_minute WHERE partition = p_id;
    DELETE FROM public.partition WHERE id = p_id;
END
$$;

-- As before (0002), with the right to forget.
CREATE OR REPLACE FUNCTION helm_grant_writer(p_role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', p_role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION helm_open_partition, helm_seal_partition, helm_finish_partition, helm_remove_partition, helm_forget TO %I', p_role);
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
