-- The closings of the second count: docs/decisions/0006-flows-and-closings.md, readings 7 and 10 to 16, as SQL for DuckDB.
--
-- In:  stock (dating, moment, and the columns of coverage): four counts, on the days opened_on and closed_on, of what is
--      known now (by event date) and of what had been reported by that day (by report date);
--      flow_of_period (region, dating, kind, M, F, unknown): what flowed in the days after opened_on up to closed_on;
--      the tables of count.sql as of closed_on, and the variables opened_on, closed_on. All by the codes of closed_on.
-- Out: the table closing, one row for each region with a figure.

CREATE OR REPLACE TEMP MACRO figures(M, F, unknown, total) AS {M: M, F: F, unknown: unknown, total: total};
CREATE OR REPLACE TEMP MACRO nobody() AS figures(0::BIGINT, 0::BIGINT, 0::BIGINT, 0::BIGINT);

-- "Every region with a figure is closed." One that a count does not list has nobody in it on that day.
CREATE OR REPLACE TEMP TABLE closed_region AS
    SELECT region FROM stock UNION SELECT region FROM flow_of_period;

CREATE OR REPLACE TEMP TABLE full_stock AS
    SELECT closed_region.region, dating, moment, {
               population: coalesce(population, nobody()), obliged: coalesce(obliged, nobody()),
               recorded: coalesce(recorded, nobody()), recorded_early: coalesce(recorded_early, nobody()),
               print_ready: coalesce(print_ready, nobody()), issued: coalesce(issued, nobody()),
               unrecorded: coalesce(unrecorded, nobody())} AS figures, coverage
    FROM closed_region CROSS JOIN (VALUES ('event'), ('report')) AS datings (dating)
    CROSS JOIN (VALUES ('opening'), ('closing')) AS moments (moment)
    LEFT JOIN stock USING (region, dating, moment);

-- "Flows are known numbers, never null."
CREATE OR REPLACE TEMP MACRO flow_named(name, kind, M, F, unknown) AS figures(
    CAST(coalesce(sum(M) FILTER (kind = name), 0) AS BIGINT), CAST(coalesce(sum(F) FILTER (kind = name), 0) AS BIGINT),
    CAST(coalesce(sum(unknown) FILTER (kind = name), 0) AS BIGINT),
    CAST(coalesce(sum(M + F + unknown) FILTER (kind = name), 0) AS BIGINT));
CREATE OR REPLACE TEMP TABLE full_flow AS
    SELECT closed_region.region, datings.dating,
           flow_named('births', kind, M, F, unknown) AS births,
           flow_named('stillbirths', kind, M, F, unknown) AS stillbirths,
           flow_named('deaths', kind, M, F, unknown) AS deaths,
           flow_named('moved_out', kind, M, F, unknown) AS moved_out,
           flow_named('moved_in', kind, M, F, unknown) AS moved_in,
           flow_named('recordings', kind, M, F, unknown) AS recordings,
           flow_named('served', kind, M, F, unknown) AS served,
           flow_named('turned_17', kind, M, F, unknown) AS turned_17
    FROM closed_region CROSS JOIN (VALUES ('event'), ('report')) AS datings (dating)
    LEFT JOIN flow_of_period
        ON flow_of_period.region = closed_region.region AND flow_of_period.dating = datings.dating
    GROUP BY closed_region.region, datings.dating;

-- "corrections = the change of the population − (births − deaths + moved_in − moved_out). Null where the population is."
CREATE OR REPLACE TEMP MACRO left_over(closing, opening, births, deaths, moved_in, moved_out) AS
    closing - opening - (births - deaths + moved_in - moved_out);
CREATE OR REPLACE TEMP TABLE month AS
    SELECT region, dating, opening.figures AS opening, {
               births: births, stillbirths: stillbirths, deaths: deaths, moved_out: moved_out, moved_in: moved_in,
               recordings: recordings, served: served, turned_17: turned_17, corrections: figures(
                   left_over(closing.figures.population.M, opening.figures.population.M, births.M, deaths.M,
                             moved_in.M, moved_out.M),
                   left_over(closing.figures.population.F, opening.figures.population.F, births.F, deaths.F,
                             moved_in.F, moved_out.F),
                   left_over(closing.figures.population.unknown, opening.figures.population.unknown, births.unknown,
                             deaths.unknown, moved_in.unknown, moved_out.unknown),
                   left_over(closing.figures.population.total, opening.figures.population.total, births.total,
                             deaths.total, moved_in.total, moved_out.total))} AS flows,
           closing.figures AS closing, closing.coverage AS coverage
    FROM full_flow
    JOIN full_stock AS opening USING (region, dating)
    JOIN full_stock AS closing USING (region, dating)
    WHERE opening.moment = 'opening' AND closing.moment = 'closing';

-- What the closing figures rest on is the opening of the coverage record of closed_on.
CREATE OR REPLACE TEMP TABLE closing AS
    SELECT by_event.region, level_of(by_event.region) AS level,
           name_of(by_event.region) AS name,
           strftime(CAST(getvariable('closed_on') AS DATE), '%Y-%m') AS period,
           CAST(getvariable('opened_on') AS VARCHAR) AS opened_on, CAST(getvariable('closed_on') AS VARCHAR) AS closed_on,
           {opening: by_event.opening, flows: by_event.flows, closing: by_event.closing,
            coverage: by_event.coverage} AS by_event_date,
           {opening: by_report.opening, flows: by_report.flows, closing: by_report.closing,
            coverage: by_report.coverage} AS by_report_date,
           opening_of(by_event.region) AS basis,
           coalesce(stock.stale_denominator, false) AS stale_denominator
    FROM month AS by_event
    JOIN month AS by_report ON by_report.region = by_event.region
    LEFT JOIN stock ON stock.region = by_event.region AND stock.dating = 'event' AND stock.moment = 'closing'
    WHERE by_event.dating = 'event' AND by_report.dating = 'report'
    ORDER BY by_event.region;
