-- Words for region codes on a day, in SQL for DuckDB. In: the tables of regions.sql. Out: the macros era_of and resolved.
-- Run in each connection, before count.sql.

SET VARIABLE change_days = (SELECT coalesce(list(on_day ORDER BY on_day), []) FROM change_day);
CREATE OR REPLACE TEMP MACRO era_of(on_day) AS
    len(list_filter(getvariable('change_days'), lambda change_day: change_day <= on_day));

-- The place that a code names in an era. A code that only one place ever had is that place's name.
SET VARIABLE reused_codes = (SELECT coalesce(list(DISTINCT code), []) FROM later_place);
SET VARIABLE later_places = (
    SELECT coalesce(map_from_entries(list({k: code || '|' || era, v: place})), MAP {}) FROM later_place);
CREATE OR REPLACE TEMP MACRO resolved(code, era) AS
    CASE WHEN list_contains(getvariable('reused_codes'), code)
         THEN coalesce(getvariable('later_places')[code || '|' || era], code) ELSE code END;
