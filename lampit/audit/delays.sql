-- How late flows are reported: days from occurred_on to the day of `time`, by region and kind of flow.
--
-- In:  the table told that flows.sql has made (each flow with both its days). Out: the table delay (region, level, dating, kind,
--      flows, median_days, ninetieth_days), of the flows that happened (dating event) or were reported (dating report) on the
--      days flows_from to as_of, under the codes of hierarchy_of. Reported before it happened: a negative number of days.
-- A figure is the smallest number of days within which half (nine in ten) of them were reported.

CREATE OR REPLACE TEMP TABLE delay AS
    WITH coded AS (
        SELECT coalesce(code_then.code, told.place) AS place, flow AS kind, on_day, reported_on, reported_on - on_day AS days
        FROM told
        LEFT JOIN code_then ON code_then.place = told.place AND code_then.era = era_of(getvariable('hierarchy_of'))),
    counted AS (
        SELECT place, 'event' AS dating, kind, days, count(*) AS number FROM coded
        WHERE on_day BETWEEN getvariable('flows_from') AND getvariable('as_of') GROUP BY ALL
        UNION ALL
        SELECT place, 'report', kind, days, count(*) FROM coded
        WHERE reported_on BETWEEN getvariable('flows_from') AND getvariable('as_of') GROUP BY ALL),
    of_region AS (
        SELECT region, dating, kind, days, sum(number) AS number
        FROM (SELECT unnest(lineage(place)) AS region, dating, kind, days, number FROM counted) GROUP BY ALL),
    running AS (
        SELECT *, sum(number) OVER (PARTITION BY region, dating, kind ORDER BY days) AS within,
               sum(number) OVER (PARTITION BY region, dating, kind) AS every
        FROM of_region)
    SELECT region, level_of(region) AS level, dating, kind, CAST(max(every) AS BIGINT) AS flows,
           min(days) FILTER (within * 2 >= every) AS median_days,
           min(days) FILTER (within * 10 >= every * 9) AS ninetieth_days
    FROM running GROUP BY region, dating, kind;
