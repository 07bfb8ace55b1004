-- The flows of the second count: docs/decisions/0006-flows-and-closings.md, readings 1 to 9, as SQL for DuckDB.
--
-- In:  the tables that count.sql has made with flows_from set. The days asked for are flows_from to as_of.
-- Out: the table flow (region, level, day, dating, kind, M, F, unknown), for every region in which something flowed.
--      dating: 'event', by the day on which it happened, or 'report', by the day on which it was registered.
--      turned_17 by report date asks what was known on every birthday: it is the turned_17 by event date of a count over
--      known_by (below), which lampit/audit/sql_closings.py runs. Corrections are what closings.sql finds left over.
--
--    1 where each fold is, day by day   2 which fold counts   3 changes of state   4 what happened
--    5 17th birthdays                   6 regions             7 what was known by a birthday

-- -------------------------------------------------------------------------------- 1. where each fold is, day by day

-- Where somebody is from `since` until before `until`: the state after the last fact of the day. "Someone in transit since
-- day d, with no change of home dated by d + n, is back in the home they left from d + n on."
CREATE OR REPLACE TEMP TABLE stay AS
    WITH step AS (
        SELECT fold_no, state, walk.home, left_home,
               coalesce(walk.on_day, DATE '-infinity') AS since,
               coalesce(lead(walk.on_day) OVER (PARTITION BY fold_no ORDER BY step), DATE 'infinity') AS until,
               coalesce(left_on + CAST(getvariable('transit_expiry_days') AS INTEGER), DATE 'infinity') AS lapses_on
        FROM walk JOIN fold USING (fold_no) WHERE variant = 0),
    every AS (
        SELECT fold_no, home AS place, since, until FROM step WHERE state = 'HOME'
        UNION ALL
        SELECT fold_no, 'ID-transit', since, least(until, lapses_on) FROM step WHERE state = 'TRANSIT'
        UNION ALL
        SELECT fold_no, left_home, greatest(since, lapses_on), until FROM step WHERE state = 'TRANSIT')
    FROM every WHERE since < until;

-- ----------------------------------------------------------------------------------------- 2. which fold counts

-- "The fold is the one that counts outside balances (reading 23)": the presumed one while the balance that governs the
-- presumed home presumes the person; the plain one otherwise, and always of a person who is not presumed at all.
CREATE OR REPLACE TEMP TABLE counting AS
    SELECT fold_no, fold.person, DATE '-infinity' AS since, DATE 'infinity' AS until
    FROM fold ANTI JOIN presumed_person USING (person) WHERE variant = 0
    UNION ALL
    SELECT fold_no, fold.person, since, until
    FROM presumed_person
    JOIN home_reign USING (home)
    LEFT JOIN entered_in_time
        ON entered_in_time.balance_no = home_reign.balance_no AND entered_in_time.person_now = presumed_person.person
    JOIN fold ON fold.variant = 0 AND fold.person = presumed_person.person
        AND fold.presumed = (entered_in_time.person_now IS NULL);

-- "By sex (the person's, corrections applied: true from birth on)."
CREATE OR REPLACE TEMP TABLE fold_sex AS
    SELECT fold_no, coalesce(corrected.sex, said.sex, 'unknown') AS sex
    FROM fold LEFT JOIN said USING (fold_no) LEFT JOIN corrected USING (fold_no) WHERE variant = 0;

-- The sex of a person of whom no fold counts on the day: a stillborn child, someone unplaced with a late certificate.
CREATE OR REPLACE TEMP TABLE plain_sex AS
    WITH spoken AS (
        SELECT person, arg_min(sex, CASE WHEN saying.event_no = standing_entry.event_no THEN 0
                                    ELSE saying.event_no END) AS sex
        FROM (SELECT * FROM saying ANTI JOIN cancelled USING (variant, event_no) WHERE variant = 0) AS saying
        LEFT JOIN (SELECT person, event_no FROM standing_entry WHERE variant = 0) AS standing_entry USING (person)
        GROUP BY person),
    said_later AS (
        SELECT person, arg_max(data.sex, event_no) AS sex FROM standing
        WHERE variant = 0 AND kind = 'correction' GROUP BY person)
    SELECT person, coalesce(said_later.sex, spoken.sex, 'unknown') AS sex
    FROM spoken FULL JOIN said_later USING (person);

-- ----------------------------------------------------------------------------------------- 3. changes of state

-- Every fact that changes the state, in the fold that counts on its day: where the person was until then, and what became.
CREATE OR REPLACE TEMP TABLE change AS
    WITH beside AS (
        SELECT fold_no, step, on_day, becomes, event_no,
               lag(state) OVER before AS state_before, lag(home) OVER before AS home_before,
               lag(left_home) OVER before AS left_home_before, lag(left_on) OVER before AS left_on_before
        FROM walk WINDOW before AS (PARTITION BY fold_no ORDER BY step))
    SELECT fold_no, person, event_no, kind, becomes, region, CASE
            WHEN state_before = 'HOME' THEN home_before
            WHEN state_before = 'TRANSIT'
                AND beside.on_day > left_on_before + CAST(getvariable('transit_expiry_days') AS INTEGER)
                THEN left_home_before
            WHEN state_before = 'TRANSIT' THEN 'ID-transit' END AS place_before
    FROM beside JOIN fact USING (fold_no, step, event_no) JOIN counting USING (fold_no)
    WHERE becomes <> 'STAYS' AND counting.since <= beside.on_day AND beside.on_day < counting.until;

-- ----------------------------------------------------------------------------------------------- 4. what happened

CREATE OR REPLACE TEMP TABLE happening AS
    -- "births: the standing register-or-birth entry, if a birth, and every standing already_registered birth, at
    -- data.region. Not those that are already_born."
    SELECT 'births' AS flow, standing.person, standing.event_no, region AS place
    FROM standing LEFT JOIN standing_entry USING (variant, person)
    WHERE variant = 0 AND kind = 'birth' AND NOT coalesce(data.stillborn, false)
        AND (coalesce(data.already_registered, false) OR standing.event_no = standing_entry.event_no)
    UNION ALL
    -- "stillbirths: every standing stillborn one." (Coalesced: as a filter by itself, beside other members of data,
    -- DuckDB 2.0.0 was seen to let null through, where all that is known is true.)
    SELECT 'stillbirths', person, event_no, region
    FROM standing WHERE variant = 0 AND kind = 'birth' AND coalesce(data.stillborn, false)
    UNION ALL
    -- "deaths: the death that takes effect, at the place where the person was counted until then; of someone counted
    -- nowhere: no flow."
    SELECT 'deaths', person, event_no, place_before FROM change WHERE kind = 'death' AND place_before IS NOT NULL
    UNION ALL
    -- "moved_out: a move_out that changes the state, at the place left."
    SELECT 'moved_out', person, event_no, place_before FROM change WHERE kind = 'move_out'
    UNION ALL
    -- "A move_in out of transit is a moved_out of ID-transit."
    SELECT 'moved_out', person, event_no, place_before
    FROM change WHERE kind = 'move_in' AND place_before = 'ID-transit'
    UNION ALL
    -- "moved_in: a move_in that changes the state, at its region."
    SELECT 'moved_in', person, event_no, region FROM change WHERE kind = 'move_in'
    UNION ALL
    -- "A move_out into transit is a moved_in of ID-transit."
    SELECT 'moved_in', person, event_no, 'ID-transit' FROM change WHERE kind = 'move_out' AND becomes = 'TRANSIT'
    UNION ALL
    -- "recordings: every standing recording with status captured that is neither after_death nor unplaced, at
    -- data.region; served: the same at service_point, where one is named."
    SELECT unnest(['recordings', 'served']), person, event_no, unnest([region, service_point])
    FROM effective
    WHERE variant = 0 AND kind = 'recording' AND status = 'captured'
        AND (person IN (SELECT person FROM placed WHERE variant = 0)
             -- "a flow goes by the fold in force on its occurred_on: whether there is one"
             OR EXISTS (FROM counting JOIN fold USING (fold_no, person)
                        WHERE counting.person = effective.person AND presumed
                            AND counting.since <= effective.occurred_on AND effective.occurred_on < counting.until));

-- "By event date a flow counts on its occurred_on, by report date on the day of its event's time, in the zone of
-- data.region (of service_point for a recording that names one; WIB where there is none)."
CREATE OR REPLACE TEMP TABLE told AS
    WITH happened AS (
        SELECT flow, happening.person, place, occurred_on AS on_day, report_day(kind, time, data) AS reported_on
        FROM happening JOIN nik_event USING (event_no) WHERE place IS NOT NULL)
    SELECT flow, place, on_day, reported_on, coalesce(fold_sex.sex, plain_sex.sex, 'unknown') AS sex
    FROM happened
    LEFT JOIN counting ON counting.person = happened.person AND counting.since <= on_day AND on_day < counting.until
    LEFT JOIN fold_sex ON fold_sex.fold_no = counting.fold_no
    LEFT JOIN plain_sex ON plain_sex.person = happened.person;
CREATE OR REPLACE TEMP TABLE dated AS
    SELECT place, 'event' AS dating, on_day AS day, flow, sex, count(*) AS number
    FROM told WHERE on_day BETWEEN getvariable('flows_from') AND getvariable('as_of') GROUP BY ALL
    UNION ALL
    SELECT place, 'report', reported_on, flow, sex, count(*)
    FROM told WHERE reported_on BETWEEN getvariable('flows_from') AND getvariable('as_of') GROUP BY ALL;

-- --------------------------------------------------------------------------------------------- 5. 17th birthdays

-- "turned_17: on the 17th birthday, at the place where the person is counted at the end of that day; obliged or not."
CREATE OR REPLACE TEMP TABLE birthday AS
    WITH born AS (
        SELECT fold_no, seventeenth_birthday(coalesce(corrected.birth_date, said.birth_date)) AS day
        FROM fold LEFT JOIN said USING (fold_no) LEFT JOIN corrected USING (fold_no)
        WHERE variant = 0 AND day BETWEEN getvariable('flows_from') AND getvariable('as_of'))
    SELECT counting.person, place, day, sex
    FROM born JOIN counting USING (fold_no) JOIN stay USING (fold_no) JOIN fold_sex USING (fold_no)
    WHERE counting.since <= day AND day < counting.until AND stay.since <= day AND day < stay.until
        -- of a person as known by one birthday (section 7) that birthday alone
        AND (len(counting.person) = 32 OR day = CAST(split_part(counting.person, '|', 1) AS DATE));

-- "In a region under its own balance with a schedule: the schedule's counts on their days, and only those known people
-- whom the balance does not already hold (who are not inside it in V0; of merged NIKs: none of them inside). Of the days
-- after D0 up to the next D0, that day included."
CREATE OR REPLACE TEMP TABLE scheduled AS
    SELECT balance_no, d0, until, schedule FROM reign WHERE schedule IS NOT NULL;
CREATE OR REPLACE TEMP TABLE held AS
    SELECT DISTINCT balance_no, person_now AS person
    FROM figure JOIN fold USING (fold_no) JOIN balance ON balance_no = figure.variant AND inside(figure.code, code_d0)
    WHERE balance_no IN (SELECT balance_no FROM scheduled);

-- What a schedule tells beyond the known birthdays in its region: its counts less the birthdays of those whom the balance
-- holds. "The balances above a 17th birthday are those above it by the codes of that day" (reading 7.10).
CREATE OR REPLACE TEMP TABLE schedule_line AS
    SELECT balance_no, d0, until, CAST(json_extract_string(line, '$.on') AS DATE) AS day, json_extract(line, '$.count') AS count
    FROM (SELECT balance_no, d0, until, unnest(schedule) AS line FROM scheduled);
CREATE OR REPLACE TEMP TABLE beyond_known AS
    WITH stated AS (
        SELECT balance_no, day, sex, CASE
                WHEN json_type(count) = 'OBJECT' THEN coalesce(CAST(json_extract_string(count, '$.' || sex) AS BIGINT), 0)
                WHEN sex = 'unknown' THEN CAST(count AS BIGINT) ELSE 0 END AS number
        FROM schedule_line, (VALUES ('M'), ('F'), ('unknown')) AS sexes (sex)
        WHERE day > d0 AND day <= until AND day BETWEEN getvariable('flows_from') AND getvariable('as_of')),
    told_already AS (
        SELECT balance_no, day, sex, -count(*) AS number
        FROM birthday
        LEFT JOIN code_then ON code_then.place = birthday.place AND code_then.era = era_of(day)
        JOIN scheduled ON d0 < day AND day <= until
        JOIN balance_then USING (balance_no)
        SEMI JOIN held ON held.balance_no = scheduled.balance_no AND held.person = birthday.person
        WHERE balance_then.era = era_of(day) AND inside(coalesce(code_then.code, birthday.place), balance_then.code)
        GROUP BY ALL)
    SELECT balance_no, day, sex, sum(number) AS number FROM (FROM stated UNION ALL FROM told_already) GROUP BY ALL;

-- "The region's own column makes up for what its balance holds, and a balance with a schedule above it counts in its own way
-- again, the schedule below it left out": what is beyond in the outermost scheduled regions below is taken away again.
CREATE OR REPLACE TEMP TABLE turned AS
    WITH coded AS (
        SELECT day, balance_no, code, stands
        FROM (SELECT DISTINCT day FROM beyond_known) AS days JOIN scheduled ON d0 < day AND day <= until
        JOIN balance_then USING (balance_no) WHERE balance_then.era = era_of(day)),
    holder AS (FROM coded QUALIFY row_number() OVER (PARTITION BY day, code ORDER BY stands DESC, balance_no) = 1),
    nearest_above AS (
        SELECT above.day, above.balance_no AS lower, holder.balance_no AS upper
        FROM (SELECT day, balance_no, unnest(lineage(code)[2:]) AS code FROM coded) AS above JOIN holder USING (day, code)
        QUALIFY row_number() OVER (PARTITION BY above.day, above.balance_no ORDER BY len(lineage(code)) DESC) = 1),
    own AS (
        SELECT balance_no, day, sex, number FROM beyond_known
        UNION ALL
        SELECT upper, nearest_above.day, sex, -number
        FROM nearest_above JOIN beyond_known ON beyond_known.balance_no = lower AND beyond_known.day = nearest_above.day)
    SELECT place, day, sex, count(*) AS number FROM birthday GROUP BY ALL
    UNION ALL
    SELECT balance.region, own.day, sex, sum(number) FROM own JOIN balance USING (balance_no) GROUP BY ALL;

-- -------------------------------------------------------------------------------------------------- 6. regions

-- "A parent is the sum of its children's flows and its own." "A period is added up under the codes of its last day" (reading
-- 7.10): those of hierarchy_of.
CREATE OR REPLACE TEMP TABLE flow AS
    WITH every AS (
        SELECT place, dating, day, flow AS kind, sex, number FROM dated
        UNION ALL
        SELECT place, 'event', day, 'turned_17', sex, number FROM turned),
    coded AS (
        SELECT unnest(lineage(coalesce(code_then.code, every.place))) AS region, dating, day, kind, sex, number
        FROM every
        LEFT JOIN code_then
            ON code_then.place = every.place AND code_then.era = era_of(getvariable('hierarchy_of')))
    SELECT region, level_of(region) AS level, day, dating, kind,
           CAST(coalesce(sum(number) FILTER (sex = 'M'), 0) AS BIGINT) AS M,
           CAST(coalesce(sum(number) FILTER (sex = 'F'), 0) AS BIGINT) AS F,
           CAST(coalesce(sum(number) FILTER (sex = 'unknown'), 0) AS BIGINT) AS unknown
    FROM coded GROUP BY ALL HAVING M <> 0 OR F <> 0 OR unknown <> 0;

-- ------------------------------------------------------------------------------- 7. what was known by a birthday

-- "turned_17 by report date: the birthday too, of those who are counted on that day by report date." For every day on
-- which somebody may turn 17, by whatever birth date any event of theirs says, all their events reported by then, under
-- a person id that begins with the day. Balances go along; everyone else can be left out.
CREATE OR REPLACE TEMP TABLE known_by AS
    WITH belonging AS (
        SELECT DISTINCT accepted.subject, coalesce(merged.person, accepted.subject) AS person
        FROM accepted LEFT JOIN merged ON merged.variant = 0 AND merged.subject = accepted.subject),
    said_somewhere AS (
        SELECT subject, seventeenth_birthday(unnest([data.person.birth_date, data.birth_date,
                            CASE WHEN kind = 'birth' THEN data.occurred_on END])) AS day
        FROM accepted),
    may_turn AS (
        SELECT DISTINCT person, day FROM said_somewhere JOIN belonging USING (subject)
        WHERE day BETWEEN getvariable('flows_from') AND getvariable('as_of'))
    SELECT day || '|' || subject AS subject, CAST(NULL AS VARCHAR) AS forwardedfrom, source, id,
           'lampit.' || kind || '.v1' AS type, time,
           struct_update(data, new_subject := day || '|' || data.new_subject) AS data
    FROM accepted JOIN belonging USING (subject) JOIN may_turn USING (person)
    WHERE report_day(kind, time, data) <= day
    UNION ALL
    SELECT NULL, NULL, source, id, 'lampit.' || kind || '.v1', time, data
    FROM accepted WHERE kind = 'opening_balance';
