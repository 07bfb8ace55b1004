-- The second count: section 2 of the contract ("Who is counted where, on day D") as SQL for DuckDB.
--
-- In:  ledger_record (accepted events as the ledger holds them; two more views of them are used in section 1, see
--      lampit/audit/sql_input.py), the tables that regions.sql makes, and the variables
--      as_of, hierarchy_of (the day whose region codes are used: as_of, unless another is asked for), transit_expiry_days (or null), leap_birthday ('mar1' or 'feb28'), stale_after_days,
--      reported_by (a day: count what had been reported by its end; null: count everything),
--      flows_from (the first day of the flows that flows.sql is to add up after this file; null: none), and
--      plain_apart (true: section 1 counts the people whose life is plain; false: it counts nobody).
--      lampit/audit/sql_count.py makes them and runs this file from top to bottom.
-- Out: the table coverage (one row for each region).
--
-- Read it as a chain of small tables; each says which sentence of the contract it carries out:
--    1 plain lives   2 events        3 openings       4 persons   5 cancellations   6 what stands   7 presumed inside
--    8 folds         9 homes        10 attributes    11 cards    12 one person's figures           13 regions
-- What reads the tables made here, in files of their own: anomalies.sql, flows.sql, closings.sql, delays.sql.
-- A place is called by its code; only of a code that several places had, the later ones have names of their own. Where
-- places are compared, or counted under codes, docs/decisions/0007 ("reading 7.n") says how.
--
-- One idea carries the openings. A person is folded several times, and every fold goes through the same SQL:
--   variant 0  all accepted events: V, once from NEW and once from a presumed home where there is one;
--   variant b  what was known in time for opening balance number b: V0.

-- ------------------------------------------------------------------------------------------------ words used below

-- The code lies in the region of another code, or is it.
CREATE OR REPLACE TEMP MACRO inside(code, region) AS
    code IS NOT NULL AND code <> 'abroad' AND (code = region OR region = 'ID' OR starts_with(code, region || '.'));

-- A code and all that contain it, from the smallest up to ID.
CREATE OR REPLACE TEMP MACRO lineage(code) AS
    CASE code WHEN 'ID' THEN ['ID'] WHEN 'ID-transit' THEN ['ID-transit', 'ID']
    ELSE list_append(
        list_transform(range(len(string_split(code, '.')), 0, -1),
                       lambda n: array_to_string(string_split(code, '.')[1:n], '.')), 'ID') END;

CREATE OR REPLACE TEMP MACRO level_of(code) AS
    CASE code WHEN 'ID' THEN 'country' WHEN 'ID-transit' THEN 'transit'
    ELSE ['province', 'regency', 'district', 'village'][len(string_split(code, '.'))] END;

-- The zone of a region, as hours before UTC's midnight; WIB where nothing is known.
CREATE OR REPLACE TEMP MACRO zone_hours(code) AS
    CASE WHEN left(code, 2) IN ('51', '52', '53', '63', '64', '65', '71', '72', '73', '74', '75', '76') THEN 8
         WHEN left(code, 2) IN ('81', '82', '91', '92', '93', '94', '95', '96') THEN 9
         ELSE 7 END;

-- "The day of a time is that of the zone of data.region (of service_point for a recording served; WIB where there is
-- none)": the day on which an event was reported.
CREATE OR REPLACE TEMP MACRO report_day(kind, time, data) AS
    CAST(time + to_hours(zone_hours(CASE WHEN kind = 'recording' AND data.service_point IS NOT NULL
                                    THEN data.service_point ELSE data.region END)) AS DATE);

-- "Born 29 February: 17 on 1 March in a common year (setting leap_birthday)". Seventeen years after a leap year is
-- never one; DuckDB answers 28 February then.
CREATE OR REPLACE TEMP MACRO seventeenth_birthday(born) AS
    CAST(born + INTERVAL 17 YEAR AS DATE)
    + CASE WHEN month(born) = 2 AND day(born) = 29 AND getvariable('leap_birthday') = 'mar1' THEN 1 ELSE 0 END;

-- The place of something in a walk: by day, then rank, then number of the event.
CREATE OR REPLACE TEMP MACRO walk_position(on_day, rank, number) AS
    (CAST(on_day - DATE '0001-01-01' AS BIGINT) * 8 + rank) * 68719476736 + number;

-- "Standing residence facts sorted by (occurred_on, rank, time, source, id)"; recordings rank 5.
CREATE OR REPLACE TEMP TABLE fact_rank AS
    FROM (VALUES ('register', 0), ('birth', 0), ('move_out', 1), ('move_in', 2), ('found', 2), ('missing', 3),
                 ('death', 4), ('recording', 5)) AS ranks (kind, rank);

-- The state table of the contract. HERE is HOME(h) with h = r, ELSEWHERE is HOME(h) with h ≠ r; RETURNED is ELSEWHERE
-- where a removal names the home left unmatched, or has the present home as its destination.
CREATE OR REPLACE TEMP TABLE state_table AS
    FROM (VALUES
        ('entry',     'NEW', 'HOME',  NULL),          ('entry',     'HERE', 'STAYS', 'already_resident'),
        ('entry',     'ELSEWHERE', 'HOME', NULL),
        ('entry',     'TRANSIT', 'HOME', NULL),       ('entry',     'OUT', 'HOME', NULL),
        ('entry',     'DEAD', 'STAYS', 'after_death'),

        ('arrival',   'NEW', 'HOME',  NULL),          ('arrival',   'HERE', 'STAYS', 'already_resident'),
        ('arrival',   'ELSEWHERE', 'HOME', 'missing_move_out'),
        ('arrival',   'TRANSIT', 'HOME', NULL),       ('arrival',   'OUT', 'HOME', NULL),
        ('arrival',   'DEAD', 'STAYS', 'after_death'),

        ('removal',   'NEW', 'STAYS', 'already_out'), ('removal',   'HERE', 'TRANSIT', NULL),
        ('removal',   'ELSEWHERE', 'TRANSIT', 'region_mismatch'),
        ('removal',   'RETURNED', 'STAYS', 'late_move_out'),
        ('removal',   'TRANSIT', 'STAYS', 'already_out'),
        ('removal',   'OUT', 'STAYS', 'already_out'), ('removal',   'DEAD', 'STAYS', 'after_death'),

        ('emigration', 'NEW', 'STAYS', 'already_out'), ('emigration', 'HERE', 'OUT', NULL),
        ('emigration', 'ELSEWHERE', 'OUT', 'region_mismatch'),
        ('emigration', 'RETURNED', 'STAYS', 'late_move_out'),
        ('emigration', 'TRANSIT', 'OUT', NULL),
        ('emigration', 'OUT', 'STAYS', 'already_out'), ('emigration', 'DEAD', 'STAYS', 'after_death'),

        ('missing',   'NEW', 'STAYS', 'already_out'), ('missing',   'HERE', 'OUT', NULL),
        ('missing',   'ELSEWHERE', 'OUT', 'region_mismatch'),
        ('missing',   'TRANSIT', 'OUT', NULL),        ('missing',   'OUT', 'STAYS', 'already_out'),
        ('missing',   'DEAD', 'STAYS', 'after_death'),

        ('death',     'NEW', 'DEAD', NULL),           ('death',     'HERE', 'DEAD', NULL),
        ('death',     'ELSEWHERE', 'DEAD', 'region_mismatch'),
        ('death',     'TRANSIT', 'DEAD', NULL),       ('death',     'OUT', 'DEAD', NULL),
        ('death',     'DEAD', 'STAYS', 'after_death')
    ) AS rows (fact, situation, becomes, anomaly);

-- -------------------------------------------------------------------------------------------------- 1. plain lives

-- Most people need no rule but the plainest, and are counted here; all that follows is for the others. A life is plain if
--   a  every event is a register or birth, a move_out, move_in, death, recording or marriage, and says no more than
--      brief_record does: nothing of citizenship, permits or openings, no birth that is a flow only, and of the person only
--      what the register says; each came once; no nik_change names the NIK;
--   b  every region named is a code that one place alone ever had, in force on that day, and no balance has to do with it;
--   c  there is one register or birth, before all other residence facts, and it says the birth date; from there on every fact
--      finds what the state table expects: a move_out names the home, a move_in follows on a move_out, death is the last and
--      names the home if there is one;
--   d  recordings and marriages are before a death; no recording failed or is a duplicate; those that name a region all name
--      the same.
-- Such a life has no anomaly. Its facts fold in the order of day and rank alone, each where the state table goes on without
-- one; nothing is cancelled, corrected, in conflict, merged or presumed. So the last fact by the asked day says where the
-- person is, the first birthday, marriage or word of one from when obliged, and each stage of a card counts once it is reached.

-- Every code that a region with a balance ever had.
CREATE OR REPLACE TEMP TABLE stated_code AS
    WITH sent AS (SELECT DISTINCT region AS code FROM brief_record WHERE type = 'lampit.opening_balance.v1')
    FROM sent
    UNION
    SELECT code_then.code FROM sent JOIN place_run ON place_run.code = sent.code JOIN code_then USING (place);

-- What may be named: places that in no era have a code inside one of these. (Lengths of codes: of a province to of a village.)
CREATE OR REPLACE TEMP TABLE plain_code AS
    WITH coded AS (SELECT code AS place, code FROM steady_code UNION ALL SELECT place, code FROM code_then),
    stated AS (
        SELECT place FROM coded, (VALUES (2), (5), (8), (13)) AS lengths (length)
        WHERE left(code, length) IN (FROM stated_code)
        UNION ALL
        SELECT code FROM steady_code WHERE 'ID' IN (FROM stated_code))
    SELECT CAST(row_number() OVER () AS INTEGER) AS place_no, code AS region, since, until
    FROM steady_code WHERE code NOT IN (FROM stated) AND getvariable('plain_apart');

CREATE OR REPLACE TEMP TABLE changed_nik AS
    SELECT unnest([subject, data.new_subject]) AS subject FROM ledger_record
    WHERE type = 'lampit.nik_change.v1' AND getvariable('plain_apart');

-- Moves and deaths, each beside the fact before it: "expired": back home since, by transit_expiry_days.
CREATE OR REPLACE TEMP TABLE journey_step AS
    SELECT subject, kind, on_day, rank, place_no, goes_abroad,
           lag(kind) OVER before AS kind_before, lag(on_day) OVER before AS day_before,
           lag(place_no) OVER before AS place_before,
           coalesce(kind_before = 'move_out' AND NOT lag(goes_abroad) OVER before
               AND on_day > day_before + CAST(getvariable('transit_expiry_days') AS INTEGER), false) AS expired,
           CASE WHEN expired THEN false
                WHEN kind_before IS NULL THEN true
                WHEN kind = 'move_in' THEN kind_before = 'move_out'
                WHEN kind = 'death' AND kind_before = 'move_out' THEN true
                ELSE kind_before = 'move_in' AND place_no = place_before END AS is_expected
    FROM (SELECT subject, type[8:-4] AS kind, occurred_on AS on_day, rank, place_no, goes_abroad
          FROM brief_record JOIN fact_rank ON fact_rank.kind = type[8:-4] JOIN plain_code USING (region)
          WHERE type IN ('lampit.move_out.v1', 'lampit.move_in.v1', 'lampit.death.v1') AND getvariable('plain_apart'))
    WINDOW before AS (PARTITION BY subject ORDER BY on_day, rank);
CREATE OR REPLACE TEMP TABLE journey AS
    SELECT subject, bool_and(is_expected) AS is_expected,
           max(CASE WHEN kind = 'death' THEN on_day END) AS died_on,
           any_value({kind: kind, on_day: on_day, place_no: place_no}) FILTER (kind_before IS NULL) AS first_step,
           arg_max({kind: kind, on_day: on_day, place_no: place_no, goes_abroad: goes_abroad},
                   walk_position(on_day, rank, 0))
               FILTER (on_day <= getvariable('as_of')) AS last_step
    FROM journey_step GROUP BY subject;

-- One row for people who are alike. That every (source, id) came once is sure where each sets a bit of its own, out of 64, by
-- its hash; if two set the same bit, by another part of it; if then too, the person is left to the other sections.
-- (DuckDB would put all people into memory beside their journeys, for it cannot guess how many they are.)
-- Whoever was born by the day turned_17_by had turned 17 on the asked day.
SET VARIABLE turned_17_by = (
    SELECT max(day) FROM (SELECT CAST(getvariable('as_of') - INTERVAL 17 YEAR AS DATE) + CAST(unnest(range(-5, 5)) AS INTEGER) AS day)
    WHERE seventeenth_birthday(day) <= getvariable('as_of'));
CREATE OR REPLACE TEMP MACRO own_bit(number) AS CAST(1 AS UBIGINT) << CAST(number % 64 AS INTEGER);
SET disabled_optimizers = 'build_side_probe_side';
CREATE OR REPLACE TEMP TABLE life AS
    WITH told AS (
        SELECT subject, type, occurred_on, place_no, status, birth_date, sex, ever_married_on, recorded_on,
               hash(source, id) AS name,
               type IN ('lampit.register.v1', 'lampit.birth.v1') AS is_entry,
               CASE WHEN type = 'lampit.birth.v1' THEN occurred_on ELSE birth_date END AS born_on,
               type = 'lampit.recording.v1' AS is_recording, type = 'lampit.marriage.v1' AS is_marriage,
               NOT says_more AND (occurred_on BETWEEN since AND until OR (brief_record.region IS NULL AND is_marriage))
                   AND CASE WHEN is_entry THEN born_on IS NOT NULL
                            WHEN is_recording THEN status NOT IN ('failed', 'duplicate')
                            ELSE is_marriage OR type IN ('lampit.move_out.v1', 'lampit.move_in.v1', 'lampit.death.v1') END
                   AS is_plain
        FROM brief_record LEFT JOIN plain_code ON plain_code.region = brief_record.region
        WHERE subject IS NOT NULL AND getvariable('plain_apart')),
    gathered AS (
        SELECT subject, count(*) AS events, bool_and(coalesce(is_plain, false)) AS is_plain,
               bit_or(own_bit(name)) AS bits, bit_or(own_bit(name >> 6)) AS other_bits,
               count(CASE WHEN is_entry THEN 1 END) AS entries,
               max(CASE WHEN is_entry THEN occurred_on END) AS entered_on, max(CASE WHEN is_entry THEN place_no END) AS home,
               max(sex) AS sex,
               bool_or(born_on <= getvariable('turned_17_by')
                       OR CASE WHEN is_marriage THEN occurred_on ELSE ever_married_on END <= getvariable('as_of'))
                   AS is_obliged,
               -- 1 recorded, 2 print_ready, 3 issued
               max(CASE WHEN is_recording AND occurred_on <= getvariable('as_of')
                        THEN CASE status WHEN 'captured' THEN 1 WHEN 'sent' THEN 1 WHEN 'delivered' THEN 3 ELSE 2 END
                        WHEN recorded_on <= getvariable('as_of') THEN 1 END) AS card,
               max(CASE WHEN is_recording OR is_marriage THEN occurred_on END) AS last_on,
               min(CASE WHEN is_recording OR is_marriage THEN place_no END) AS recorded_at,
               max(CASE WHEN is_recording OR is_marriage THEN place_no END) AS also_recorded_at
        FROM told GROUP BY subject),
    judged AS (
        SELECT gathered.* EXCLUDE (is_plain), last_step,
               gathered.is_plain AND greatest(bit_count(bits), bit_count(other_bits)) = events AND entries = 1
               AND coalesce(recorded_at = also_recorded_at, true)
               AND CASE WHEN journey.subject IS NULL THEN true
                        ELSE is_expected AND first_step.kind <> 'move_in'
                            AND first_step.on_day >= entered_on AND first_step.place_no = home
                            AND coalesce(last_on < died_on, true) END
               AND gathered.subject NOT IN (FROM changed_nik) AS is_plain
        FROM gathered LEFT JOIN journey ON journey.subject = gathered.subject)
    SELECT CASE WHEN NOT is_plain THEN subject END AS subject, is_plain, sex, home, recorded_at,
           -- "TRANSIT is counted under ID-transit": place 0
           CASE WHEN entered_on > getvariable('as_of') THEN NULL
                WHEN last_step IS NULL THEN home
                WHEN last_step.kind = 'move_in' THEN last_step.place_no
                WHEN last_step.kind = 'death' OR last_step.goes_abroad THEN NULL
                WHEN last_step.on_day + CAST(getvariable('transit_expiry_days') AS INTEGER) <= getvariable('as_of')
                    THEN last_step.place_no
                ELSE 0 END AS place_no,
           coalesce(is_obliged, false) AS is_obliged, coalesce(card, 0) AS card, count(*) AS people
    FROM judged GROUP BY ALL;
RESET disabled_optimizers;

-- "Counted at home, not where served, while obliged; otherwise recorded_early. print_ready and issued likewise only while
-- obliged"; by the codes of hierarchy_of.
CREATE OR REPLACE TEMP TABLE plain_figure AS
    SELECT CASE WHEN place_no = 0 THEN 'ID-transit' ELSE coalesce(code_then.code, plain_code.region) END AS shown_code,
           coalesce(sex, 'unknown') AS sex, sum(people) AS population,
           sum(CASE WHEN is_obliged THEN people ELSE 0 END) AS obliged,
           sum(CASE WHEN is_obliged AND card >= 1 THEN people ELSE 0 END) AS recorded,
           sum(CASE WHEN card >= 1 AND NOT is_obliged THEN people ELSE 0 END) AS recorded_early,
           sum(CASE WHEN is_obliged AND card >= 2 THEN people ELSE 0 END) AS print_ready,
           sum(CASE WHEN is_obliged AND card >= 3 THEN people ELSE 0 END) AS issued
    FROM life LEFT JOIN plain_code USING (place_no)
    LEFT JOIN code_then ON code_then.place = plain_code.region AND code_then.era = era_of(getvariable('hierarchy_of'))
    WHERE is_plain AND place_no IS NOT NULL GROUP BY ALL;

-- The places that plain lives name.
CREATE OR REPLACE TEMP TABLE plain_place AS
    WITH named AS (
        SELECT DISTINCT unnest([home, recorded_at]) AS place_no FROM (SELECT DISTINCT home, recorded_at FROM life WHERE is_plain)
        UNION
        SELECT DISTINCT place_no FROM journey_step WHERE subject NOT IN (SELECT subject FROM life WHERE NOT is_plain))
    SELECT region AS place FROM named JOIN plain_code USING (place_no);

-- Whose life is not, with all that they and nobody sent.
CREATE OR REPLACE TEMP TABLE not_plain AS SELECT subject FROM life WHERE NOT is_plain;
CREATE OR REPLACE TEMP TABLE record_left AS
    SELECT * FROM records_of('not_plain') WHERE getvariable('plain_apart')
    UNION ALL
    SELECT * FROM ledger_record WHERE NOT getvariable('plain_apart');

-- ----------------------------------------------------------------------------------------------------------- 2. events

-- Ledger records that are events; control records of the ledger (genesis, epoch, day) are not, nor copies of an event
-- that is kept under another id of the person. "The stock by report date on D is the figure of D over the events whose
-- time falls on a day up to D. Opening balances count from their D0 whatever their time."
CREATE OR REPLACE TEMP VIEW accepted AS
    SELECT rowid AS record_no, coalesce(subject, '') AS subject, source, id, type[8:-4] AS kind, time, data
    FROM record_left
    WHERE forwardedfrom IS NULL
        AND (getvariable('reported_by') IS NULL OR type = 'lampit.opening_balance.v1'
             OR report_day(type[8:-4], time, data) <= getvariable('reported_by'))
        AND type IN (
        'lampit.register.v1', 'lampit.birth.v1', 'lampit.death.v1', 'lampit.move_out.v1', 'lampit.move_in.v1',
        'lampit.recording.v1', 'lampit.marriage.v1', 'lampit.residence_permit.v1', 'lampit.correction.v1',
        'lampit.missing.v1', 'lampit.found.v1', 'lampit.nik_change.v1', 'lampit.cancellation.v1',
        'lampit.opening_balance.v1');

-- RFC 8785 canonical JSON of the accepted form "without nik and new_nik": members in the order of their names, absent
-- ones left out, strings escaped as JSON.stringify does.
CREATE OR REPLACE TEMP MACRO canonical_text(value) AS
    '"' || list_reduce(range(0, 32), lambda text, code:
        replace(text, chr(CAST(code AS INTEGER)), CASE code
            WHEN 8 THEN '\b' WHEN 9 THEN '\t' WHEN 10 THEN '\n' WHEN 12 THEN '\f' WHEN 13 THEN '\r'
            ELSE '\u00' || lower(printf('%02x', code)) END),
        replace(replace(value, '\', '\\'), '"', '\"')) || '"';
CREATE OR REPLACE TEMP MACRO member(name, json) AS coalesce(',"' || name || '":' || json, '');
CREATE OR REPLACE TEMP MACRO text_member(name, value) AS member(name, canonical_text(value));
-- Dates, codes and words of the schema need no escapes.
CREATE OR REPLACE TEMP MACRO plain_member(name, value) AS member(name, '"' || CAST(value AS VARCHAR) || '"');
CREATE OR REPLACE TEMP MACRO flag_member(name, value) AS member(name, CAST(value AS VARCHAR));
CREATE OR REPLACE TEMP MACRO canonical_object(members) AS '{' || members[2:] || '}';
CREATE OR REPLACE TEMP MACRO canonical_permit(permit) AS
    CASE WHEN permit IS NOT NULL
    THEN canonical_object(plain_member('from', permit."from") || plain_member('until', permit."until")) END;
CREATE OR REPLACE TEMP MACRO canonical_person(person) AS
    CASE WHEN person IS NOT NULL THEN canonical_object(
        plain_member('birth_date', person.birth_date) || flag_member('citizen', person.citizen)
        || plain_member('ever_married_on', person.ever_married_on)
        || member('permanent_permit', canonical_permit(person.permanent_permit))
        || plain_member('recorded_on', person.recorded_on) || plain_member('sex', person.sex)) END;
CREATE OR REPLACE TEMP MACRO canonical_count(count) AS
    CASE json_type(count)
        WHEN 'OBJECT' THEN '{"F":' || (json_extract_string(count, '$.F')) || ',"M":' || (json_extract_string(count, '$.M')) || '}'
        ELSE CAST(count AS VARCHAR) END;
CREATE OR REPLACE TEMP MACRO canonical_counts(counts) AS
    CASE WHEN counts IS NOT NULL THEN canonical_object(
        member('issued', canonical_count(json_extract(counts, '$.issued')))
        || member('obliged', canonical_count(json_extract(counts, '$.obliged')))
        || member('population', canonical_count(json_extract(counts, '$.population')))
        || member('print_ready', canonical_count(json_extract(counts, '$.print_ready')))
        || member('recorded', canonical_count(json_extract(counts, '$.recorded')))
        || member('recorded_early', canonical_count(json_extract(counts, '$.recorded_early')))) END;
CREATE OR REPLACE TEMP MACRO canonical_schedule(schedule) AS
    CASE WHEN schedule IS NOT NULL THEN '[' || array_to_string(list_transform(CAST(schedule AS JSON[]), lambda line:
        '{"count":' || canonical_count(json_extract(line, '$.count')) || ',"on":"' || (json_extract_string(line, '$.on')) || '"}'), ',') || ']' END;
CREATE OR REPLACE TEMP MACRO canonical_data(data) AS canonical_object(
    flag_member('already_registered', nullif(data.already_registered, false))
    || plain_member('birth_date', data.birth_date)
    || member('cancels', CASE WHEN data.cancels IS NOT NULL THEN canonical_object(
           text_member('id', data.cancels.id) || text_member('source', data.cancels.source)) END)
    || flag_member('citizen', data.citizen)
    || member('counts', canonical_counts(data.counts))
    || plain_member('destination', data.destination)
    || flag_member('in_opening', nullif(data.in_opening, false))
    || text_member('letter', data.letter)
    || plain_member('occurred_on', data.occurred_on)
    || plain_member('origin', data.origin)
    || member('permanent_permit', canonical_permit(data.permanent_permit))
    || member('person', canonical_person(data.person))
    || plain_member('region', data.region)
    || plain_member('service_point', data.service_point)
    || plain_member('sex', data.sex)
    || plain_member('status', nullif(data.status, 'captured'))
    || flag_member('stillborn', nullif(data.stillborn, false))
    || member('turning_17', canonical_schedule(data.turning_17)));
CREATE OR REPLACE TEMP MACRO canonical_time(time) AS
    strftime(time, '%Y-%m-%dT%H:%M:%S') || CASE WHEN microsecond(time) % 1000000 = 0 THEN '' ELSE strftime(time, '.%f') END
    || 'Z';
CREATE OR REPLACE TEMP MACRO canonical_event(source, id, kind, time, data) AS
    '{"data":' || canonical_data(data) || ',"id":' || canonical_text(id) || ',"source":' || canonical_text(source)
    || ',"specversion":"1.0","time":"' || canonical_time(time) || '","type":"lampit.' || kind || '.v1"}';

-- "(person, source, id) identifies the event for ever. The same again with the same content is a duplicate: no effect.
-- With other content it is a conflict: the one with the earliest time, then the smaller SHA-256 stands." First per NIK:
-- what comes once there needs no comparison, unless its NIK is linked to another, where it may meet its like.
CREATE OR REPLACE TEMP TABLE repeated AS
    SELECT subject, source, id FROM accepted GROUP BY ALL HAVING count(*) > 1;
CREATE OR REPLACE TEMP TABLE linked AS
    SELECT DISTINCT unnest([subject, data.new_subject]) AS subject FROM accepted WHERE kind = 'nik_change';
CREATE OR REPLACE TEMP TABLE contested AS
    WITH contents AS (
        SELECT *, canonical_event(source, id, kind, time, data) AS canonical FROM accepted
        WHERE subject IN (SELECT subject FROM linked)
            OR (subject, source, id) IN (SELECT (subject, source, id) FROM repeated))
    SELECT *, row_number() OVER (
        -- contents that differ in new_nik alone have one digest: the smaller new person id stands
        PARTITION BY subject, source, id ORDER BY time, sha256(canonical), data.new_subject) AS place
    FROM (SELECT DISTINCT ON (subject, source, id, canonical, data.new_subject) * FROM contents);

-- Every event that stands in its NIK, with its places and the era of its day. event_no is the order (time, source, id), used
-- wherever the contract says so. flow_only: "flow-only births (stillborn, already_registered)", which give birth date and sex
-- and nobody a home.
CREATE OR REPLACE TEMP VIEW uncontested AS
    SELECT *, CAST(NULL AS VARCHAR) AS canonical, false AS is_linked
    FROM accepted ANTI JOIN repeated USING (subject, source, id) ANTI JOIN linked USING (subject)
    UNION ALL BY NAME
    SELECT * EXCLUDE (place), subject IN (SELECT subject FROM linked) AS is_linked FROM contested WHERE place = 1;
-- Numbered apart from all else that an event says, because a sort carries along whatever it is given.
CREATE OR REPLACE TEMP TABLE event_number AS
    SELECT record_no, row_number() OVER (ORDER BY time, source, id, sha256(canonical), subject) AS event_no
    FROM uncontested;
-- "Every code an event names (region, destination, origin, service_point) is resolved on its occurred_on" (reading 7.4).
CREATE OR REPLACE TEMP TABLE nik_event AS
    SELECT event_no, uncontested.*,
           data.occurred_on AS occurred_on, coalesce(data.status, 'captured') AS status,
           era_of(occurred_on) AS era, resolved(data.region, era) AS region, resolved(data.origin, era) AS origin,
           resolved(data.destination, era) AS destination, resolved(data.service_point, era) AS service_point,
           kind = 'birth' AND (coalesce(data.stillborn, false) OR coalesce(data.already_registered, false)) AS flow_only
    FROM uncontested JOIN event_number USING (record_no);

-- --------------------------------------------------------------------------------------------------------- 3. openings

-- "A balance's region is a place: its code resolved on D0. At equal D0 the latest stands, if the two are the same on D0. The end
-- of D0 (cutoff) goes by the zone of the code as sent" (reading 7.14).
CREATE OR REPLACE TEMP TABLE balance AS
    SELECT row_number() OVER (ORDER BY occurred_on, nik_event.region) AS balance_no,
           nik_event.region, occurred_on AS d0, nik_event.era,
           coalesce(place_now, nik_event.region) AS place_d0, coalesce(code_then.code, nik_event.region) AS code_d0,
           CAST(occurred_on + 1 AS TIMESTAMP) - to_hours(zone_hours(data.region)) AS cutoff,
           data.counts AS counts,
           CASE WHEN json_array_length(data.turning_17) > 0 THEN CAST(data.turning_17 AS JSON[]) END AS schedule
    FROM nik_event
    LEFT JOIN place_then ON place_then.place = nik_event.region AND place_then.era = nik_event.era
    LEFT JOIN code_then ON code_then.place = nik_event.region AND code_then.era = nik_event.era
    WHERE kind = 'opening_balance'
    QUALIFY row_number() OVER (PARTITION BY place_d0, occurred_on ORDER BY event_no DESC) = 1;

-- What the region of a balance is, and which code it has, in every era.
CREATE OR REPLACE TEMP TABLE balance_then AS
    SELECT balance_no, era.era, coalesce(place_now, region) AS place, coalesce(code_then.code, region) AS code,
           place_run.place IS NULL OR era.era BETWEEN first_era AND last_era AS stands
    FROM balance CROSS JOIN era
    LEFT JOIN place_run ON place_run.place = region
    LEFT JOIN place_then ON place_then.place = region AND place_then.era = era.era
    LEFT JOIN code_then ON code_then.place = region AND code_then.era = era.era;

-- "A balance governs until the next D0 of a balance whose region is the same place on that day."
CREATE OR REPLACE TEMP TABLE reign AS
    WITH next_d0 AS (
        SELECT balance_then.balance_no, min(later.d0) AS until
        FROM balance_then
        JOIN balance USING (balance_no)
        JOIN balance AS later
            ON later.era = balance_then.era AND later.place_d0 = balance_then.place AND later.d0 > balance.d0
        GROUP BY balance_then.balance_no)
    SELECT balance.*, coalesce(until, DATE 'infinity') AS until FROM balance LEFT JOIN next_d0 USING (balance_no);

-- Those that govern on the asked day.
CREATE OR REPLACE TEMP TABLE governing AS
    SELECT * FROM reign WHERE d0 <= getvariable('as_of') AND getvariable('as_of') < until;

-- Which code lies below which, of the regions of the balances that take part in a step from one era's codes to another's.
-- Steps: every change day up to the asked day ("with the balances that governed on c − 1"), and last, "as if the codes had
-- changed at once", from the codes of as_of to those of hierarchy_of ("with the balances that govern on as_of").
CREATE OR REPLACE TEMP TABLE step AS
    SELECT era AS step, era - 1 AS era_from, era AS era_to FROM change_day WHERE on_day <= getvariable('as_of')
    UNION ALL
    SELECT era_of(getvariable('as_of')) + 1, era_of(getvariable('as_of')), era_of(getvariable('hierarchy_of'));
CREATE OR REPLACE TEMP TABLE member AS
    SELECT step, balance_no FROM step JOIN change_day ON era = step JOIN reign ON d0 < on_day AND on_day <= until
    WHERE step <= era_of(getvariable('as_of'))
    UNION ALL
    SELECT era_of(getvariable('as_of')) + 1, balance_no FROM governing;

-- Strictly below, by the codes before and after each step; depth: how many others are between. "Of several regions at one
-- code, the one in force on the day has what lies below."
CREATE OR REPLACE TEMP TABLE nested AS
    WITH coded AS (
        SELECT step, side, balance_no, code, stands
        FROM member JOIN (SELECT step, unnest(['from', 'to']) AS side, unnest([era_from, era_to]) AS era FROM step) AS sides
            USING (step)
        JOIN balance_then USING (balance_no, era)),
    holder AS (
        FROM coded QUALIFY row_number() OVER (PARTITION BY step, side, code ORDER BY stands DESC, balance_no) = 1),
    above AS (
        SELECT step, side, balance_no, unnest(lineage(code)[2:]) AS code FROM coded)
    SELECT step, side, holder.balance_no AS upper, above.balance_no AS lower,
           row_number() OVER (PARTITION BY step, side, above.balance_no ORDER BY len(lineage(code)) DESC) = 1 AS is_outermost
    FROM above JOIN holder USING (step, side, code);

-- X, "a sum of E's with whole coefficients" (reading 7.17): "when a balance begins to govern, X_R = E_b. On a change day own_R
-- = X_R less the X of the outermost such regions strictly below R by the codes of c − 1. Then X_R = own_R plus the new X of the
-- outermost strictly below R by the codes of c": the own parts of all that now lie below.
CREATE OR REPLACE TEMP TABLE excess AS
    WITH RECURSIVE
    own_part AS (
        SELECT step, balance_no, balance_no AS of_no, 1 AS weight FROM member
        UNION ALL
        SELECT step, upper, lower, -1 FROM nested WHERE side = 'from' AND is_outermost),
    rebased AS (
        SELECT step, balance_no, of_no, sum(weight) AS weight
        FROM (FROM own_part
              UNION ALL
              SELECT nested.step, upper, of_no, weight
              FROM nested JOIN own_part ON own_part.step = nested.step AND own_part.balance_no = nested.lower
              WHERE side = 'to') AS parts (step, balance_no, of_no, weight)
        GROUP BY ALL HAVING sum(weight) <> 0),
    walk AS (
        SELECT 0 AS step, 0 AS balance_no, 0 AS term, 1 AS coefficient  -- keeps the walk going while nobody governs
        UNION ALL
        SELECT 0, balance_no, balance_no, 1 FROM balance WHERE era = 0
        UNION ALL
        (SELECT CAST(walk.step + 1 AS INTEGER), rebased.balance_no, term, CAST(sum(weight * coefficient) AS INTEGER)
         FROM walk JOIN rebased ON rebased.step = walk.step + 1 AND rebased.of_no = walk.balance_no
         GROUP BY ALL HAVING sum(weight * coefficient) <> 0
         UNION ALL
         SELECT walk.step + 1, balance.balance_no, balance.balance_no, 1
         FROM walk JOIN balance ON balance.era = walk.step + 1 AND balance.d0 <= getvariable('as_of')
         WHERE walk.balance_no = 0
         UNION ALL
         SELECT walk.step + 1, 0, 0, 1 FROM walk
         WHERE walk.balance_no = 0 AND walk.step <= era_of(getvariable('as_of'))))
    SELECT balance_no, term, coefficient FROM walk
    WHERE step = era_of(getvariable('as_of')) + 1 AND balance_no <> 0;

-- Those whose V0 is asked for: the ones of whom E is asked, and those with a schedule by which the birthdays of
-- the flows are told.
CREATE OR REPLACE TEMP TABLE folded_balance AS
    SELECT balance_no, d0, schedule FROM balance
    WHERE balance_no IN (SELECT term FROM excess) AND d0 < getvariable('as_of')
    UNION
    SELECT balance_no, d0, schedule FROM reign
    WHERE schedule IS NOT NULL AND d0 < getvariable('as_of') AND until >= getvariable('flows_from');

-- The places that events name, with every accepted balance that governs them: "when it is inside the balance's region on
-- that balance's D0" (reading 7.16).
CREATE OR REPLACE TEMP TABLE governed AS
    WITH named AS (
        SELECT DISTINCT unnest([region, origin]) AS place FROM nik_event WHERE subject <> '' AND EXISTS (FROM balance)),
    coded AS (
        SELECT named.place, eras.era, unnest(lineage(coalesce(code_then.code, named.place))) AS code
        FROM named CROSS JOIN (SELECT DISTINCT era FROM balance) AS eras
        LEFT JOIN code_then ON code_then.place = named.place AND code_then.era = eras.era
        WHERE named.place IS NOT NULL AND named.place <> 'abroad')
    SELECT place, balance_no, code_d0, d0
    FROM coded JOIN balance ON balance.code_d0 = coded.code AND balance.era = coded.era;

-- ---------------------------------------------------------------------------------------------------------- 4. persons

-- "nik_change: one person under two NIKs, for all events of both, earlier and later." For V0 only the changes known in
-- time join: "two NIKs merged later were two people in B". The person id is the smallest id of those connected.
CREATE OR REPLACE TEMP TABLE merged AS
    WITH RECURSIVE
    known_change AS (
        SELECT 0 AS variant, subject, data.new_subject AS other FROM nik_event WHERE kind = 'nik_change'
        UNION
        SELECT balance_no, subject, data.new_subject FROM nik_event, balance
        WHERE kind = 'nik_change' AND time < cutoff),
    link AS (FROM known_change UNION SELECT variant, other, subject FROM known_change),
    connected AS (
        SELECT variant, subject, subject AS member FROM link
        UNION
        SELECT connected.variant, connected.subject, link.other
        FROM connected JOIN link ON link.variant = connected.variant AND link.subject = connected.member)
    SELECT variant, subject, min(member) AS person FROM connected GROUP BY ALL;

-- Whose events belong to whom: person within the variant, person_now with all that is known. Conflicts are resolved
-- "again after merging", there whichever NIK they came under; another new_nik is another content there too.
CREATE OR REPLACE TEMP MACRO contest(members) AS TABLE
    SELECT *, row_number() OVER first_comes AS place,
           first(canonical) OVER first_comes = canonical
               AND first(data.new_subject) OVER first_comes IS NOT DISTINCT FROM data.new_subject AS same_content
    FROM query_table(members)
    WINDOW first_comes AS (PARTITION BY variant, person, source, id
                           ORDER BY time, sha256(canonical), data.new_subject, event_no);

CREATE OR REPLACE TEMP TABLE merged_now AS
    SELECT 0 AS variant, merged.person, merged.person AS person_now, true AS in_time, nik_event.*
    FROM nik_event JOIN merged ON merged.variant = 0 AND merged.subject = nik_event.subject;
CREATE OR REPLACE TEMP TABLE merged_contest AS FROM contest('merged_now');

-- Most NIKs are one person's alone, and nothing need be written down of them; added_event holds all others.
CREATE OR REPLACE TEMP TABLE added_event AS
    SELECT 0 AS variant, subject AS person, subject AS person_now, true AS in_time, nik_event.*
    FROM nik_event WHERE is_linked AND subject NOT IN (SELECT subject FROM merged WHERE variant = 0)
    UNION ALL
    SELECT * EXCLUDE (place, same_content) FROM merged_contest WHERE place = 1;
CREATE OR REPLACE TEMP VIEW person_event AS
    SELECT 0 AS variant, subject AS person, subject AS person_now, true AS in_time, nik_event.*
    FROM nik_event WHERE subject <> '' AND NOT is_linked
    UNION ALL
    FROM added_event;

-- "Presumed inside … whose earliest fact (residence fact or recording, in fold order, recordings ranking 5, cancelled
-- ones too) is not a birth, nor a register entry, nor a move_in or found from abroad, from null or from a region without
-- a governing balance": the home that follows from the earliest fact of all events, known in time or not.
CREATE OR REPLACE TEMP VIEW presumable AS
    WITH earliest AS (
        SELECT variant, person, any_value(person_now) AS person_now,
               arg_min({kind: kind, region: region, origin: origin},
                       walk_position(occurred_on, rank, event_no)) AS fact
        FROM person_event JOIN fact_rank USING (kind)
        WHERE NOT flow_only AND EXISTS (FROM balance)
        GROUP BY variant, person)
    SELECT variant, person, person_now,
           CASE WHEN fact.kind = 'move_in' THEN fact.origin
                WHEN fact.kind IN ('move_out', 'missing', 'death', 'recording') THEN fact.region END AS home
    FROM earliest
    WHERE home IN (SELECT place FROM governed);

-- The persons to be looked at as a balance knew them: for its figures, those with an event in its region; and those who may be
-- presumed inside, if a register or birth of theirs may be in time. An event that lost a conflict after merging stood before it.
CREATE OR REPLACE TEMP TABLE variant_person AS
    SELECT DISTINCT balance_no, person_now
    FROM (SELECT person_now, unnest([region, origin]) AS place FROM person_event WHERE EXISTS (FROM balance)
          UNION ALL SELECT person_now, unnest([region, origin]) FROM merged_now WHERE EXISTS (FROM balance))
    JOIN governed USING (place) JOIN folded_balance USING (balance_no)
    UNION
    SELECT balance_no, person_now
    FROM presumable, balance
    WHERE person_now IN (SELECT person_now FROM person_event WHERE kind IN ('register', 'birth') AND NOT flow_only
                         UNION SELECT person_now FROM merged_now WHERE kind IN ('register', 'birth') AND NOT flow_only);

-- The same events once more for each of them. in_time: "those whose time is by the end of D0 …; plus a register entry
-- with in_opening whatever its time".
CREATE OR REPLACE TEMP TABLE variant_event AS
    SELECT variant_person.balance_no AS variant, coalesce(joined.person, nik_event.subject) AS person,
           variant_person.person_now,
           time < cutoff OR (kind = 'register' AND coalesce(data.in_opening, false)) AS in_time, nik_event.*,
           joined.person IS NOT NULL AS is_merged
    FROM nik_event
    LEFT JOIN merged AS present ON present.variant = 0 AND present.subject = nik_event.subject
    JOIN variant_person ON variant_person.person_now = coalesce(present.person, nik_event.subject)
    JOIN balance USING (balance_no)
    LEFT JOIN merged AS joined ON joined.variant = balance_no AND joined.subject = nik_event.subject;
CREATE OR REPLACE TEMP TABLE merged_variant AS
    SELECT * EXCLUDE (is_merged) FROM variant_event WHERE is_merged;
INSERT INTO added_event
    SELECT * EXCLUDE (is_merged) FROM variant_event WHERE NOT is_merged
    UNION ALL
    SELECT * EXCLUDE (place, same_content) FROM contest('merged_variant') WHERE place = 1;

-- ---------------------------------------------------------------------------------------------------- 5. cancellations

-- "cancellation: the named event of the same person counts as never sent". A cancellation names one event, so those of
-- a variant form a forest, but for cycles.
CREATE OR REPLACE TEMP TABLE cancellation AS
    SELECT canceller.variant, canceller.person, canceller.event_no, canceller.source, canceller.id,
           target.event_no AS target_no, target.kind AS target_kind
    FROM person_event AS canceller
    LEFT JOIN person_event AS target
        ON target.variant = canceller.variant AND target.person = canceller.person AND target.in_time
        AND target.source = canceller.data.cancels.source AND target.id = canceller.data.cancels.id
    WHERE canceller.kind = 'cancellation' AND canceller.in_time;

-- "Cancellations in a cycle have no effect": those from which following the targets leads back.
CREATE OR REPLACE TEMP TABLE cycle AS
    WITH RECURSIVE follow AS (
        SELECT variant, event_no AS start, target_no AS reached FROM cancellation WHERE target_kind = 'cancellation'
        UNION
        SELECT follow.variant, follow.start, cancellation.target_no
        FROM follow JOIN cancellation ON cancellation.variant = follow.variant
            AND cancellation.event_no = follow.reached AND cancellation.target_kind = 'cancellation')
    SELECT variant, start AS event_no FROM follow WHERE reached = start;

-- "Can itself be cancelled": one has effect when none that has effect names it; decided from those nobody names inward,
-- each once all that name it are decided.
CREATE OR REPLACE TEMP TABLE decided AS
    WITH RECURSIVE
    candidate AS (FROM cancellation ANTI JOIN cycle USING (variant, event_no)),
    naming AS (
        SELECT candidate.variant, candidate.event_no, candidate.target_no
        FROM candidate JOIN candidate AS target
            ON target.variant = candidate.variant AND target.event_no = candidate.target_no),
    verdict (variant, event_no, has_effect) USING KEY (variant, event_no) AS (
        SELECT variant, event_no, true FROM candidate
        WHERE (variant, event_no) NOT IN (SELECT (variant, target_no) FROM naming)
        UNION
        SELECT naming.variant, naming.target_no, NOT bool_or(known.has_effect)
        FROM (SELECT DISTINCT variant, target_no FROM verdict JOIN naming USING (variant, event_no)) AS reached
        JOIN naming USING (variant, target_no)
        LEFT JOIN recurring.verdict AS known ON known.variant = naming.variant AND known.event_no = naming.event_no
        GROUP BY naming.variant, naming.target_no
        HAVING count(*) = count(known.event_no))
    FROM verdict;

CREATE OR REPLACE TEMP TABLE cancelled AS
    SELECT DISTINCT variant, target_no AS event_no
    FROM cancellation JOIN decided USING (variant, event_no)
    WHERE has_effect AND target_no IS NOT NULL AND target_kind <> 'nik_change';

-- ------------------------------------------------------------------------------------------------- 6. what then stands

CREATE OR REPLACE TEMP VIEW standing AS
    FROM person_event ANTI JOIN cancelled USING (variant, event_no) WHERE in_time;

-- "Of several register/birth events the earliest (time, source, id) stands."
CREATE OR REPLACE TEMP TABLE standing_entry AS
    SELECT variant, person, any_value(person_now) AS person_now, min(event_no) AS event_no
    FROM standing WHERE kind IN ('register', 'birth') AND NOT flow_only GROUP BY variant, person;

-- "Recordings, marriages and permits dated on or after a standing death: no effect." A death takes effect in every state
-- but DEAD, so the first day of a standing death is it.
CREATE OR REPLACE TEMP TABLE standing_death AS
    SELECT variant, person, min(occurred_on) AS died_on FROM standing WHERE kind = 'death' GROUP BY variant, person;

CREATE OR REPLACE TEMP VIEW effective AS
    SELECT standing.* FROM standing LEFT JOIN standing_death USING (variant, person)
    WHERE kind IN ('recording', 'marriage', 'residence_permit') AND (died_on IS NULL OR occurred_on < died_on);

-- "Someone without any standing register, birth, move_in or found": nothing of theirs has effect (unless presumed).
CREATE OR REPLACE TEMP TABLE placed AS
    SELECT variant, person FROM standing_entry
    UNION
    SELECT variant, person FROM standing WHERE kind IN ('move_in', 'found');

-- -------------------------------------------------------------------------------------------------- 7. presumed inside

-- Whom a register or birth known in time keeps from being presumed, balance by balance.
CREATE OR REPLACE TEMP TABLE entered_in_time AS
    SELECT DISTINCT variant AS balance_no, person_now FROM standing_entry WHERE variant <> 0;

-- Presumed inside under at least one accepted balance.
CREATE OR REPLACE TEMP TABLE presumed_person AS
    SELECT person, home FROM presumable
    WHERE variant = 0 AND (SELECT count(*) FROM balance)
        > (SELECT count(*) FROM entered_in_time WHERE entered_in_time.person_now = presumable.person);

-- The balance that governs a presumed home, since and until when: of the code and its ancestors "the one with the latest
-- D0 by D, or the earliest of all when none is yet; at equal D0 that of the longest code". home_balance: on the asked day.
CREATE OR REPLACE TEMP TABLE home_reign AS
    WITH first_of_day AS (
        SELECT place AS home, d0, balance_no FROM governed
        QUALIFY row_number() OVER (PARTITION BY place, d0 ORDER BY len(lineage(code_d0)) DESC, balance_no) = 1)
    SELECT home, balance_no,
           CASE WHEN row_number() OVER by_day = 1 THEN DATE '-infinity' ELSE d0 END AS since,
           coalesce(lead(d0) OVER by_day, DATE 'infinity') AS until
    FROM first_of_day WINDOW by_day AS (PARTITION BY home ORDER BY d0);
CREATE OR REPLACE TEMP VIEW home_balance AS
    SELECT home, balance_no FROM home_reign WHERE since <= getvariable('as_of') AND getvariable('as_of') < until;

-- ------------------------------------------------------------------------------------------------------------ 8. folds

-- What is folded, and on which days it is asked. A NIK first heard of after D0, of a person who was entered in time under
-- another NIK, "is that person and adds nobody" to what B holds. "With a turning_17 schedule V0's obliged (only) is taken at D."
CREATE OR REPLACE TEMP TABLE fold AS
    WITH present AS (
        SELECT person, false AS presumed, CAST(NULL AS VARCHAR) AS home FROM placed WHERE variant = 0
        UNION ALL
        SELECT person, true, home FROM presumed_person),
    known_in_time AS (
        SELECT variant, person, any_value(person_now) AS person_now, bool_or(in_time) AS heard_of
        FROM person_event WHERE variant <> 0 GROUP BY variant, person),
    presumed_in_time AS (
        SELECT variant, person, home FROM presumable JOIN known_in_time USING (variant, person)
        ANTI JOIN standing_entry USING (variant, person)
        WHERE heard_of OR (variant, known_in_time.person_now) NOT IN (SELECT (balance_no, person_now) FROM entered_in_time)),
    every AS (
        SELECT 0 AS variant, person, person AS person_now, presumed, home,
               CAST(getvariable('as_of') AS DATE) AS on_day, CAST(getvariable('as_of') AS DATE) AS obliged_on
        FROM present
        UNION ALL
        SELECT variant, person, known_in_time.person_now, presumed_in_time.home IS NOT NULL, presumed_in_time.home,
               d0, CASE WHEN schedule IS NULL THEN d0 ELSE getvariable('as_of') END
        FROM known_in_time
        JOIN folded_balance ON balance_no = variant
        LEFT JOIN presumed_in_time USING (variant, person)
        WHERE presumed_in_time.home IS NOT NULL OR (variant, person) IN (SELECT (variant, person) FROM placed))
    SELECT row_number() OVER () AS fold_no, * FROM every;

-- ------------------------------------------------------------------------------------------------------------ 9. homes

-- The facts of each fold, numbered in the order in which they fold; region_now and destination_now: the places on that day.
CREATE OR REPLACE TEMP TABLE fact_of_fold AS
    SELECT fold_no, standing.event_no, standing.kind, occurred_on AS on_day, rank, era, region, destination,
           CASE WHEN kind IN ('register', 'birth') THEN 'entry'
                WHEN kind IN ('move_in', 'found') THEN 'arrival'
                WHEN kind = 'move_out' AND destination = 'abroad' THEN 'emigration'
                WHEN kind = 'move_out' THEN 'removal'
                ELSE kind END AS fact
    FROM fold
    JOIN standing USING (variant, person)
    JOIN fact_rank USING (kind)
    WHERE kind NOT IN ('recording', 'register', 'birth')
        OR (variant, standing.event_no) IN (SELECT (variant, event_no) FROM standing_entry);
CREATE OR REPLACE TEMP TABLE fact AS
    SELECT fold_no, event_no, kind, on_day, fact_of_fold.era, region, fact,
           coalesce(region_then.place_now, region) AS region_now,
           coalesce(destination_then.place_now, destination) AS destination_now,
           row_number() OVER (PARTITION BY fold_no ORDER BY on_day, rank, event_no) AS step
    FROM fact_of_fold
    LEFT JOIN place_then AS region_then ON region_then.place = region AND region_then.era = fact_of_fold.era
    LEFT JOIN place_then AS destination_then
        ON destination_then.place = destination AND destination_then.era = fact_of_fold.era;

-- One row for the beginning of each fold (step 0: NEW, or the presumed home "where they have lived for ever") and one
-- after each fact (becomes: what the state table says of it). left_home: where someone in transit came from; unmatched: the home left unmatched, "until the next
-- change of home". With transit_expiry_days n, who is in transit since d without a change of home dated by d + n "is
-- back in the home they left from d + n on". Whether two places are one is asked of the fact's day (reading 7.8); "the home
-- stays the place as it was first named".
CREATE OR REPLACE TEMP TABLE walk AS
    WITH RECURSIVE walk AS (
        SELECT fold_no, CAST(0 AS BIGINT) AS step, CAST(NULL AS DATE) AS on_day,
               CASE WHEN presumed THEN 'HOME' ELSE 'NEW' END AS state, home,
               CAST(NULL AS VARCHAR) AS unmatched, CAST(NULL AS VARCHAR) AS left_home, CAST(NULL AS DATE) AS left_on,
               CAST(NULL AS VARCHAR) AS becomes, CAST(NULL AS VARCHAR) AS anomaly, CAST(NULL AS BIGINT) AS event_no
        FROM fold
        UNION ALL
        SELECT fold_no, step, situation.on_day,
               CASE becomes WHEN 'STAYS' THEN state ELSE becomes END,
               CASE becomes WHEN 'STAYS' THEN home WHEN 'HOME' THEN region END,
               CASE WHEN becomes = 'STAYS' THEN unmatched
                    WHEN situation.fact = 'arrival' AND situation.situation = 'ELSEWHERE' THEN home END,
               CASE becomes WHEN 'STAYS' THEN left_home WHEN 'TRANSIT' THEN home END,
               CASE becomes WHEN 'STAYS' THEN left_on WHEN 'TRANSIT' THEN situation.on_day END,
               becomes, state_table.anomaly, event_no
        FROM (
            SELECT beside.*, CASE
                    WHEN state <> 'HOME' THEN state
                    WHEN coalesce(home_then.place_now, home) = region_now THEN 'HERE'
                    WHEN fact IN ('removal', 'emigration')
                        AND (region_now = coalesce(unmatched_then.place_now, unmatched)
                             OR destination_now = coalesce(home_then.place_now, home)) THEN 'RETURNED'
                    ELSE 'ELSEWHERE' END AS situation
            FROM (
                SELECT fact.fold_no, fact.step, fact.on_day, fact.event_no, fact.fact, fact.region, fact.era,
                       fact.region_now, fact.destination_now,
                       coalesce(walk.state = 'TRANSIT'
                           AND fact.on_day > walk.left_on + CAST(getvariable('transit_expiry_days') AS INTEGER),
                           false) AS expired,
                       CASE WHEN expired THEN 'HOME' ELSE walk.state END AS state,
                       CASE WHEN expired THEN walk.left_home ELSE walk.home END AS home,
                       walk.unmatched,
                       CASE WHEN NOT expired THEN walk.left_home END AS left_home,
                       CASE WHEN NOT expired THEN walk.left_on END AS left_on
                FROM walk JOIN fact ON fact.fold_no = walk.fold_no AND fact.step = walk.step + 1) AS beside
            LEFT JOIN place_then AS home_then ON home_then.place = beside.home AND home_then.era = beside.era
            LEFT JOIN place_then AS unmatched_then
                ON unmatched_then.place = beside.unmatched AND unmatched_then.era = beside.era) AS situation
        JOIN state_table USING (fact, situation))
    FROM walk;

-- Where a fold is on the day it is asked for. "TRANSIT is counted under ID-transit."
CREATE OR REPLACE TEMP TABLE place AS
    WITH last_step AS (
        SELECT fold_no, max(step) AS step FROM walk JOIN fold USING (fold_no)
        WHERE walk.on_day IS NULL OR walk.on_day <= fold.on_day GROUP BY fold_no)
    SELECT fold_no, CASE
            WHEN state = 'HOME' THEN walk.home
            WHEN state = 'TRANSIT' AND left_on + CAST(getvariable('transit_expiry_days') AS INTEGER) <= fold.on_day
                THEN left_home
            WHEN state = 'TRANSIT' THEN 'ID-transit' END AS place
    FROM last_step JOIN walk USING (fold_no, step) JOIN fold USING (fold_no)
    WHERE state IN ('HOME', 'TRANSIT');

-- ------------------------------------------------------------------------------------------------------ 10. attributes

-- What an event says of the person: data.person, and a birth (flow-only ones too) its own day and sex.
CREATE OR REPLACE TEMP VIEW saying AS
    SELECT variant, person, event_no, in_time,
           CASE WHEN kind = 'birth' THEN occurred_on ELSE data.person.birth_date END AS birth_date,
           CASE WHEN kind = 'birth' THEN data.sex ELSE data.person.sex END AS sex,
           data.person.ever_married_on, data.person.recorded_on, data.person.citizen, data.person.permanent_permit
    FROM person_event
    WHERE kind = 'birth' OR data.person IS NOT NULL;

-- Who speaks for a fold. V: its standing events. V0: "only data.person is taken from all events": those standing in V
-- and those standing in V0. "With their data.person": of a presumed person the cancelled ones too.
CREATE OR REPLACE TEMP TABLE speaker AS
    SELECT fold_no, saying.*
    FROM fold JOIN saying ON saying.variant = 0 AND saying.person = fold.person_now
    LEFT JOIN cancelled ON cancelled.variant = 0 AND cancelled.event_no = saying.event_no
    WHERE presumed OR cancelled.event_no IS NULL
    UNION ALL
    SELECT fold_no, saying.*
    FROM fold JOIN saying ON saying.variant = fold.variant AND saying.person = fold.person
    LEFT JOIN cancelled ON cancelled.variant = saying.variant AND cancelled.event_no = saying.event_no
    WHERE fold.variant <> 0 AND in_time AND cancelled.event_no IS NULL;

-- "What the standing register or birth event says comes first (that of V0, else of V), then other events by earliest
-- (time, source, id)", field by field.
CREATE OR REPLACE TEMP TABLE said AS
    WITH ordered AS (
        SELECT speaker.*, CASE WHEN speaker.event_no = coalesce(own.event_no, now.event_no) THEN 0
                               ELSE speaker.event_no END AS turn
        FROM speaker JOIN fold USING (fold_no)
        LEFT JOIN standing_entry AS own ON own.variant = fold.variant AND own.person = fold.person
        LEFT JOIN standing_entry AS now ON now.variant = 0 AND now.person = fold.person_now)
    SELECT fold_no, arg_min(birth_date, turn) AS birth_date, arg_min(sex, turn) AS sex,
           arg_min(ever_married_on, turn) AS ever_married_on, arg_min(recorded_on, turn) AS recorded_on,
           arg_min(citizen, turn) AS citizen, arg_min(permanent_permit, turn) AS permanent_permit
    FROM ordered GROUP BY fold_no;

-- "correction: true from birth on; per field the latest (time, source, id) wins."
CREATE OR REPLACE TEMP TABLE corrected AS
    SELECT fold_no, arg_max(data.birth_date, event_no) AS birth_date, arg_max(data.sex, event_no) AS sex
    FROM fold JOIN standing USING (variant, person) WHERE kind = 'correction' GROUP BY fold_no;

CREATE OR REPLACE TEMP TABLE married AS
    SELECT fold_no, min(occurred_on) AS married_on
    FROM fold JOIN effective USING (variant, person) WHERE kind = 'marriage' GROUP BY fold_no;

-- Obliged on both days a fold is asked for: "from min(17th birthday, first marriage or ever_married_on) on …, and citizen
-- or foreigner within the permanent permit (the residence_permit with the latest (occurred_on, time, source, id) up to D
-- says which; before the first, what the person data says)". Presumed inside: "obliged if the birth date is unknown".
CREATE OR REPLACE TEMP TABLE obliged AS
    WITH asked AS (SELECT fold_no, on_day FROM fold UNION SELECT fold_no, obliged_on FROM fold),
    governing_permit AS (
        SELECT fold_no, asked.on_day, arg_max({citizen: data.citizen, permit: data.permanent_permit},
                                              walk_position(occurred_on, 0, event_no)) AS last
        FROM asked JOIN fold USING (fold_no) JOIN effective USING (variant, person)
        WHERE kind = 'residence_permit' AND occurred_on <= asked.on_day
        GROUP BY fold_no, asked.on_day),
    person AS (
        SELECT asked.fold_no, asked.on_day, presumed, coalesce(corrected.birth_date, said.birth_date) AS born_on,
               married_on, ever_married_on,
               CASE WHEN last IS NOT NULL THEN last.citizen ELSE coalesce(said.citizen, true) END AS citizen,
               CASE WHEN last IS NOT NULL THEN last.permit ELSE said.permanent_permit END AS permit
        FROM asked JOIN fold USING (fold_no)
        LEFT JOIN said USING (fold_no) LEFT JOIN corrected USING (fold_no) LEFT JOIN married USING (fold_no)
        LEFT JOIN governing_permit ON governing_permit.fold_no = asked.fold_no
            AND governing_permit.on_day = asked.on_day)
    SELECT fold_no, on_day,
           (coalesce(least(seventeenth_birthday(born_on), married_on, ever_married_on) <= on_day, false)
            OR (presumed AND born_on IS NULL))
           AND (citizen OR coalesce(
               permit."from" <= on_day AND (permit."until" IS NULL OR on_day <= permit."until"), false)) AS obliged
    FROM person;

-- ----------------------------------------------------------------------------------------------------------- 11. cards

-- "Recorded in V0 if … their first stage other than duplicate is sent, print_ready, printed or delivered": then they were
-- recorded before everything known of them, in V and V0 (over all recordings that have effect in V).
CREATE OR REPLACE TEMP TABLE first_stage AS
    SELECT person_event.variant, person_event.person,
           arg_min(person_event.status,
                   walk_position(person_event.occurred_on, 0, event_no)) AS status
    FROM person_event JOIN presumable USING (variant, person)
    WHERE kind = 'recording' AND person_event.status <> 'duplicate'
        AND (event_no IN (SELECT event_no FROM effective WHERE variant = 0 AND kind = 'recording')
             -- sent under two NIKs alike, it is the same event of each
             OR (person_event.person_now, source, id, canonical)
                 IN (SELECT (person, source, id, canonical) FROM effective WHERE variant = 0 AND kind = 'recording'))
    GROUP BY person_event.variant, person_event.person;

-- "Walk the recordings up to D in the order (occurred_on, time, source, id), recorded_on being a capture on its day":
-- it comes before the recording events of that day.
CREATE OR REPLACE TEMP TABLE stage AS
    SELECT fold_no, status, walk_position(occurred_on, 1, event_no) AS position
    FROM fold JOIN effective USING (variant, person)
    WHERE kind = 'recording' AND occurred_on <= on_day
    UNION ALL
    SELECT fold_no, 'captured', walk_position(recorded_on, 0, 0) FROM fold JOIN said USING (fold_no)
    WHERE recorded_on <= on_day
    UNION ALL
    SELECT fold_no, 'captured', -1 FROM fold JOIN first_stage USING (variant, person)
    WHERE presumed AND status IN ('sent', 'print_ready', 'printed', 'delivered');

-- "Any stage from captured to delivered makes the person recorded, failed ends that (and print_ready and issued) until the
-- next one, duplicate does nothing": each holds while its last stage came after the last failure.
CREATE OR REPLACE TEMP TABLE card AS
    WITH last_of AS (
        SELECT fold_no,
               max(position) FILTER (status = 'failed') AS failed,
               max(position) FILTER (status IN ('captured', 'sent', 'print_ready', 'printed', 'delivered')) AS recorded,
               max(position) FILTER (status IN ('print_ready', 'printed', 'delivered')) AS print_ready,
               max(position) FILTER (status = 'delivered') AS issued
        FROM stage GROUP BY fold_no)
    SELECT fold_no, coalesce(recorded > coalesce(failed, -2), false) AS recorded,
           coalesce(print_ready > coalesce(failed, -2), false) AS print_ready,
           coalesce(issued > coalesce(failed, -2), false) AS issued
    FROM last_of;

-- -------------------------------------------------------------------------------------------- 12. one person's figures

-- "Counted at home, not where served, while obliged; otherwise recorded_early. print_ready and issued likewise only while
-- obliged." Only obliged itself looks at obliged_on.
CREATE OR REPLACE TEMP TABLE figure AS
    SELECT fold_no, fold.variant, fold.person, fold.presumed, place.place,
           -- by the codes of the day on which the fold is asked, and of hierarchy_of
           coalesce(code_then.code, place.place) AS code, coalesce(shown_then.code, place.place) AS shown_code,
           coalesce(corrected.sex, said.sex, 'unknown') AS sex,
           1 AS population,
           CAST(later.obliged AS INTEGER) AS obliged,
           CAST(coalesce(card.recorded, false) AND obliged.obliged AS INTEGER) AS recorded,
           CAST(coalesce(card.recorded, false) AND NOT obliged.obliged AS INTEGER) AS recorded_early,
           CAST(coalesce(card.print_ready, false) AND obliged.obliged AS INTEGER) AS print_ready,
           CAST(coalesce(card.issued, false) AND obliged.obliged AS INTEGER) AS issued
    FROM fold
    JOIN place USING (fold_no)
    JOIN obliged ON obliged.fold_no = fold.fold_no AND obliged.on_day = fold.on_day
    JOIN obliged AS later ON later.fold_no = fold.fold_no AND later.on_day = fold.obliged_on
    LEFT JOIN card USING (fold_no) LEFT JOIN said USING (fold_no) LEFT JOIN corrected USING (fold_no)
    LEFT JOIN code_then ON code_then.place = place.place AND code_then.era = era_of(fold.on_day)
    LEFT JOIN code_then AS shown_then
        ON shown_then.place = place.place AND shown_then.era = era_of(getvariable('hierarchy_of'));

-- The people known by name, where they are: the presumed fold where the balance that governs the presumed home presumes
-- them, otherwise the plain one.
CREATE OR REPLACE TEMP TABLE known AS
    SELECT figure.* FROM figure
    LEFT JOIN presumed_person USING (person)
    LEFT JOIN home_balance USING (home)
    LEFT JOIN entered_in_time
        ON entered_in_time.balance_no = home_balance.balance_no AND entered_in_time.person_now = figure.person
    WHERE figure.variant = 0
        AND presumed = (presumed_person.person IS NOT NULL AND entered_in_time.person_now IS NULL);

-- "E_b(D) = B + schedule to D − Σ V0 + Σ (V by b − V outside balances), the last sum over those inside R on D; on D0 itself E_b =
-- B − the known people inside R" (reading 7.17): what is added and taken away, balance by balance. "V0 asks on D0, V on D"
-- which code R has and which a place.
CREATE OR REPLACE TEMP TABLE moved AS
    WITH asked AS (
        SELECT balance_no, d0, code, code_d0 FROM balance JOIN balance_then USING (balance_no)
        WHERE balance_no IN (SELECT term FROM excess) AND balance_then.era = era_of(getvariable('as_of'))),
    coded AS (
        SELECT code AS inner_code, unnest(lineage(code)) AS code FROM (SELECT DISTINCT code FROM figure)),
    within_now AS (SELECT inner_code, balance_no, d0 FROM coded JOIN asked USING (code))
    SELECT within_now.balance_no, 1 AS sign, figure.*
    FROM figure JOIN within_now ON inner_code = figure.code
    LEFT JOIN presumed_person USING (person)
    LEFT JOIN entered_in_time
        ON entered_in_time.balance_no = within_now.balance_no AND entered_in_time.person_now = figure.person
    WHERE figure.variant = 0 AND d0 < getvariable('as_of')
        AND presumed = (presumed_person.person IS NOT NULL AND entered_in_time.person_now IS NULL)
    UNION ALL
    SELECT balance_no, -1, known.* FROM known JOIN within_now ON inner_code = known.code
    UNION ALL
    SELECT balance_no, -1, figure.*
    FROM figure JOIN coded ON inner_code = figure.code
    JOIN asked ON balance_no = figure.variant AND code_d0 = coded.code WHERE d0 < getvariable('as_of');

-- --------------------------------------------------------------------------------------------------------- 13. regions

CREATE OR REPLACE TEMP TABLE measure AS
    FROM (VALUES ('population'), ('obliged'), ('recorded'), ('recorded_early'), ('print_ready'), ('issued'))
    AS measures (measure);
CREATE OR REPLACE TEMP TABLE sex AS FROM (VALUES ('M'), ('F'), ('unknown'), ('total')) AS sexes (sex);

-- "Several measures, by sex": one row for each measure and sex, and their total.
CREATE OR REPLACE TEMP MACRO by_measure(rows) AS TABLE
    SELECT node, measure, coalesce(sex, 'total') AS sex, sum(number) AS number
    FROM (FROM query_table(rows)
          UNPIVOT (number FOR measure IN (population, obliged, recorded, recorded_early, print_ready, issued)))
    GROUP BY GROUPING SETS ((node, measure, sex), (node, measure));

CREATE OR REPLACE TEMP TABLE known_row AS
    SELECT shown_code AS node, sex, sum(population) AS population, sum(obliged) AS obliged, sum(recorded) AS recorded,
           sum(recorded_early) AS recorded_early, sum(print_ready) AS print_ready, sum(issued) AS issued
    FROM (FROM known UNION ALL BY NAME FROM plain_figure) GROUP BY shown_code, sex;
CREATE OR REPLACE TEMP TABLE moved_row AS
    SELECT balance_no AS node, sex, sum(sign * population) AS population, sum(sign * obliged) AS obliged,
           sum(sign * recorded) AS recorded, sum(sign * recorded_early) AS recorded_early,
           sum(sign * print_ready) AS print_ready, sum(sign * issued) AS issued
    FROM moved GROUP BY balance_no, sex;

-- "A count given as one int leaves its split by sex unknown: null." {"M", "F"}: unknown starts at 0.
CREATE OR REPLACE TEMP MACRO stated_count(count, sex) AS
    CASE WHEN json_type(count) = 'OBJECT' THEN CASE sex
             WHEN 'unknown' THEN 0
             WHEN 'total' THEN CAST(json_extract_string(count, '$.M') AS BIGINT) + CAST(json_extract_string(count, '$.F') AS BIGINT)
             ELSE CAST(json_extract_string(count, '$.' || sex) AS BIGINT) END
         WHEN sex = 'total' THEN CAST(count AS BIGINT) END;

-- B, with its schedule: "adds count on its day on (after D0) to obliged, of unknown sex when it is one number".
CREATE OR REPLACE TEMP TABLE stated AS
    WITH asked AS (FROM balance WHERE balance_no IN (SELECT term FROM excess)),
    line AS (
        SELECT balance_no, d0, CAST(json_extract_string(line, '$.on') AS DATE) AS on_day, json_extract(line, '$.count') AS count
        FROM (SELECT balance_no, d0, unnest(schedule) AS line FROM asked)),
    turned AS (
        SELECT balance_no, 'obliged' AS measure, sex,
               sum(CASE WHEN json_type(count) <> 'OBJECT' AND sex = 'unknown' THEN CAST(count AS BIGINT)
                        ELSE coalesce(stated_count(count, sex), 0) END) AS number
        FROM line, sex WHERE on_day > d0 AND on_day <= getvariable('as_of') GROUP BY balance_no, sex)
    SELECT balance_no, measure, sex,
           stated_count(json_extract(counts, '$.' || measure), sex) + coalesce(turned.number, 0) AS number
    FROM asked CROSS JOIN measure CROSS JOIN sex LEFT JOIN turned USING (balance_no, measure, sex);

-- The codes, on hierarchy_of, of regions that start from a balance: "balance if a balance of any place with that code governs, none
-- if such a place has balances and all are of later days" (reading 7.18).
CREATE OR REPLACE TEMP TABLE balance_code AS
    WITH of_place AS (
        SELECT code, balance.region, bool_or(governing.balance_no IS NOT NULL) AS governs,
               bool_and(balance.d0 > getvariable('as_of')) AS all_later,
               coalesce(bool_or(governing.schedule IS NULL
                    AND getvariable('as_of') >= governing.d0 + CAST(getvariable('stale_after_days') AS INTEGER))
                    FILTER (governing.balance_no IS NOT NULL), false) AS stale
        FROM balance_then JOIN balance USING (balance_no) LEFT JOIN governing USING (balance_no)
        WHERE balance_then.era = era_of(getvariable('hierarchy_of')) GROUP BY code, balance.region)
    SELECT code, bool_or(governs) AS governs, bool_or(stale) AS stale
    FROM of_place GROUP BY code HAVING bool_or(governs) OR bool_or(all_later);

-- "A region's figure is the known people inside it plus its X"; of several places at one code, "their figures add up". "A measure
-- or a sex that one of them does not state is null."
CREATE OR REPLACE TEMP TABLE inside_row AS
    SELECT region AS node, sex, sum(population) AS population, sum(obliged) AS obliged, sum(recorded) AS recorded,
           sum(recorded_early) AS recorded_early, sum(print_ready) AS print_ready, sum(issued) AS issued
    FROM (SELECT *, unnest(lineage(node)) AS region FROM known_row)
    WHERE region IN (SELECT code FROM balance_code WHERE governs) GROUP BY region, sex;
CREATE OR REPLACE TEMP TABLE balance_figure AS
    WITH beyond AS (
        SELECT stated.balance_no AS term, stated.measure, stated.sex, stated.number + coalesce(change.number, 0) AS number
        FROM stated
        LEFT JOIN (FROM by_measure('moved_row')) AS change
            ON change.node = stated.balance_no AND change.measure = stated.measure AND change.sex = stated.sex),
    beyond_of_code AS (
        SELECT code AS node, measure, sex,
               CASE WHEN count(*) = count(number) THEN sum(coefficient * number) END AS number
        FROM governing JOIN balance_then USING (balance_no) JOIN excess USING (balance_no) JOIN beyond USING (term)
        WHERE balance_then.era = era_of(getvariable('hierarchy_of')) GROUP BY code, measure, sex)
    SELECT node, measure, sex, beyond_of_code.number + coalesce(known.number, 0) AS number
    FROM beyond_of_code LEFT JOIN (FROM by_measure('inside_row')) AS known USING (node, measure, sex);

-- Which regions a part is added into: all above it up to the first that has a balance of its own; known people also into
-- their own place, unless it has one. "None (before its first D0: null figures, left out of ancestors)."
CREATE OR REPLACE TEMP TABLE part AS
    WITH above AS (
        SELECT node, unnest(lineage(node)) AS region, unnest(range(0, len(lineage(node)))) AS height, 0 AS lowest
        FROM (SELECT DISTINCT node FROM known_row)
        UNION ALL
        SELECT node, unnest(lineage(node)), unnest(range(0, len(lineage(node)))), 1
        FROM (SELECT code AS node FROM balance_code WHERE governs)),
    stopped AS (
        SELECT node, lowest, min(height) AS height FROM above
        WHERE region IN (SELECT code FROM balance_code) AND height >= lowest GROUP BY node, lowest)
    SELECT above.node, above.lowest = 1 AS is_balance, above.region
    FROM above LEFT JOIN stopped USING (node, lowest)
    WHERE above.height >= lowest AND (stopped.height IS NULL OR above.height < stopped.height);

-- "The codes of the places that are named or lived in or have a balance, and what is above them" (reading 7.13; a presumed home
-- is named by no event that stands in it), and ID-transit.
CREATE OR REPLACE TEMP TABLE shown AS
    WITH named AS (
        SELECT coalesce(code_then.code, place) AS code
        FROM (SELECT DISTINCT region AS place FROM standing WHERE variant = 0 AND region IS NOT NULL
              UNION FROM plain_place) AS named
        LEFT JOIN (FROM code_then WHERE era = era_of(getvariable('hierarchy_of'))) AS code_then USING (place)
        UNION SELECT node FROM known_row
        UNION SELECT code FROM balance_then WHERE era = era_of(getvariable('hierarchy_of')))
    SELECT DISTINCT unnest(lineage(code)) AS region FROM named UNION SELECT unnest(lineage('ID-transit'));

-- The known people of each region they are added into.
CREATE OR REPLACE TEMP TABLE region_row AS
    SELECT region AS node, sex, sum(population) AS population, sum(obliged) AS obliged, sum(recorded) AS recorded,
           sum(recorded_early) AS recorded_early, sum(print_ready) AS print_ready, sum(issued) AS issued
    FROM part JOIN known_row USING (node) WHERE NOT is_balance GROUP BY region, sex;

-- "A parent is the sum of its children's counts plus its own column." "A measure that a balance does not state is null
-- there and in every ancestor", but those with a balance of their own.
CREATE OR REPLACE TEMP TABLE region_figure AS
    WITH part_figure AS (
        SELECT node AS region, measure, sex, number FROM by_measure('region_row')
        UNION ALL
        SELECT region, measure, sex, number FROM part JOIN balance_figure USING (node) WHERE is_balance),
    summed AS (
        SELECT region, measure, sex, CASE WHEN count(*) = count(number) THEN sum(number) END AS number
        FROM part_figure GROUP BY region, measure, sex)
    SELECT shown.region, measure.measure, sex.sex,
           CASE WHEN balance_code.governs THEN balance_figure.number
                WHEN balance_code.code IS NOT NULL THEN NULL
                WHEN summed.region IS NULL THEN 0
                ELSE summed.number END AS number
    FROM shown CROSS JOIN measure CROSS JOIN sex
    LEFT JOIN balance_code ON balance_code.code = shown.region
    LEFT JOIN balance_figure ON node = shown.region AND balance_figure.measure = measure.measure
        AND balance_figure.sex = sex.sex
    LEFT JOIN summed ON summed.region = shown.region AND summed.measure = measure.measure AND summed.sex = sex.sex;

-- opening, "in this precedence: balance | none | partial | parent | register".
CREATE OR REPLACE TEMP MACRO opening_of(region) AS CASE
    WHEN EXISTS (SELECT 1 FROM balance_code WHERE code = region AND governs) THEN 'balance'
    WHEN EXISTS (SELECT 1 FROM balance_code WHERE code = region) THEN 'none'
    WHEN EXISTS (SELECT 1 FROM balance_code WHERE inside(code, region)) THEN 'partial'
    WHEN EXISTS (SELECT 1 FROM balance_code WHERE inside(region, code)) THEN 'parent'
    ELSE 'register' END;

CREATE OR REPLACE TEMP MACRO four(of, numbers, sexes, measures) AS {
    M: max(numbers) FILTER (measures = of AND sexes = 'M'),
    F: max(numbers) FILTER (measures = of AND sexes = 'F'),
    unknown: max(numbers) FILTER (measures = of AND sexes = 'unknown'),
    total: max(numbers) FILTER (measures = of AND sexes = 'total')};

CREATE OR REPLACE TEMP MACRO name_of(region) AS CASE region
    WHEN 'ID' THEN 'Indonesia' WHEN 'ID-transit' THEN 'In transit'
    ELSE coalesce((SELECT any_value(name) FROM name_then WHERE code = region AND era = era_of(getvariable('hierarchy_of'))),
                  (SELECT any_value(name) FROM region_reference WHERE code = region)) END;

-- The coverage records. "unrecorded = obliged − recorded, may be negative, never clamped. coverage = recorded / obliged,
-- null when obliged is 0"; null for `parent`. "stale_denominator: true 90 days after a D0 without a schedule."
CREATE OR REPLACE TEMP TABLE coverage AS
    WITH record AS (
        SELECT region,
               four('population', number, sex, measure) AS population, four('obliged', number, sex, measure) AS obliged,
               four('recorded', number, sex, measure) AS recorded,
               four('recorded_early', number, sex, measure) AS recorded_early,
               four('print_ready', number, sex, measure) AS print_ready, four('issued', number, sex, measure) AS issued
        FROM region_figure GROUP BY region)
    SELECT record.region,
           level_of(record.region) AS level, name_of(record.region) AS name,
           CAST(getvariable('as_of') AS DATE) AS as_of,
           population, obliged, recorded, recorded_early, print_ready, issued,
           {M: obliged.M - recorded.M, F: obliged.F - recorded.F, unknown: obliged.unknown - recorded.unknown,
            total: obliged.total - recorded.total} AS unrecorded,
           CASE WHEN opening <> 'parent' THEN recorded.total / CAST(nullif(obliged.total, 0) AS DOUBLE) END AS coverage,
           opening,
           coalesce(stale, false) AS stale_denominator
    FROM (SELECT *, opening_of(region) AS opening FROM record) AS record
    LEFT JOIN balance_code ON balance_code.code = record.region
    ORDER BY record.region;
