-- Whoever still writes as the Python Helm did is told what became of its tables; what it left stays as it is.

CREATE FUNCTION helm_taken_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is written by helmd alone: the Python Helm''s place is taken', TG_TABLE_NAME
        USING ERRCODE = 'HE002',
              HINT = 'Stop the Python Helm. Its rows are in log_entries under their old ids; programs send theirs by helm.v1.Logs/Append (docs/api.md).';
END
$$;

CREATE TRIGGER helm_taken_over INSTEAD OF INSERT OR UPDATE OR DELETE ON log_entries FOR EACH ROW EXECUTE FUNCTION helm_taken_over();
CREATE TRIGGER helm_taken_over INSTEAD OF INSERT OR UPDATE OR DELETE ON service_status FOR EACH ROW EXECUTE FUNCTION helm_taken_over();
CREATE TRIGGER helm_taken_over INSTEAD OF INSERT OR UPDATE OR DELETE ON service_metrics FOR EACH ROW EXECUTE FUNCTION helm_taken_over();

-- Rows that came here after the others were copied would be in no log.
DO $$
DECLARE
    old text;
BEGIN
    FOREACH old IN ARRAY ARRAY['log_entries_python', 'service_status_python', 'service_metrics_python'] LOOP
        IF to_regclass(old) IS NOT NULL THEN
            EXECUTE format('CREATE TRIGGER helm_taken_over BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I
                            FOR EACH STATEMENT EXECUTE FUNCTION helm_taken_over()', old);
        END IF;
    END LOOP;
END
$$;
