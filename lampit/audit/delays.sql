-- How late events are reported: days from occurred_on to the day of `time`, by region and kind of event.
--
-- In:  the tables that count.sql has made, and the variables reported_from, reported_until (the days of `time` asked for;
--      null: all of them). Out: the table delay (region, level, kind, events, median_days, ninth_decile_days).
-- Of persons' events that stand (the loser of a conflict and what is cancelled do not), at data.region (by the codes
-- of hierarchy_of) and all that contain it; those that name no region count in ID alone. Reported before it happened: a negative number of days.
-- A figure is the smallest number of days within which half (nine in ten) of the events were reported.

CREATE OR REPLACE TEMP TABLE delay AS
    WITH each AS (
        SELECT coalesce(code_then.code, region, 'ID') AS place, kind, report_day(kind, time, data) AS reported_on,
               reported_on - occurred_on AS days
        FROM standing
        LEFT JOIN code_then ON code_then.place = region AND code_then.era = era_of(getvariable('hierarchy_of'))
        WHERE variant = 0),
    counted AS (
        SELECT place, kind, days, count(*) AS number FROM each
        WHERE reported_on >= coalesce(getvariable('reported_from'), reported_on)
            AND reported_on <= coalesce(getvariable('reported_until'), reported_on)
        GROUP BY ALL),
    of_region AS (
        SELECT region, kind, days, sum(number) AS number
        FROM (SELECT unnest(lineage(place)) AS region, kind, days, number FROM counted) GROUP BY ALL),
    running AS (
        SELECT *, sum(number) OVER (PARTITION BY region, kind ORDER BY days) AS within,
               sum(number) OVER (PARTITION BY region, kind) AS every
        FROM of_region)
    SELECT region, level_of(region) AS level, kind, CAST(max(every) AS BIGINT) AS events,
           min(days) FILTER (within * 2 >= every) AS median_days,
           min(days) FILTER (within * 10 >= every * 9) AS ninth_decile_days
    FROM running GROUP BY region, kind ORDER BY region, kind;
