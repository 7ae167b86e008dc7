-- A key that was forgotten above and is sent again counts from then on: else it would stay as old as it was, and the next start would forget it
-- while its sender may still repeat. As before (0007) apart from that.

CREATE OR REPLACE FUNCTION helm_commit(
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
        INSERT INTO public.once_key SELECT p_instance, p_class, u, p_arrived FROM unnest(o_keys) AS u
        ON CONFLICT (instance, class, key) DO UPDATE SET at = excluded.at;
    END IF;
    RETURN NULL;
END
$$;
