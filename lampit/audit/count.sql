-- The second count: section 2 of the contract ("Who is counted where, on day D") as SQL for DuckDB.
--
-- In:  ledger_record (accepted events as the ledger holds them), region_reference, region_change, and the variables
--      as_of, transit_expiry_days (or null), leap_birthday ('mar1' or 'feb28'), stale_after_days.
--      lampit/audit/sql_count.py makes them and runs this file from top to bottom.
-- Out: the tables coverage (one row for each region) and anomaly (one row for each anomaly of an event).
--
-- Read it as a chain of small tables; each says which sentence of the contract it carries out:
--    1 events    2 openings   3 persons   4 cancellations   5 what stands   6 presumed inside   7 folds
--    8 homes     9 attributes 10 cards    11 one person's figures          12 regions         13 anomalies
-- Not here: flows, closings, region codes that change (a code is taken as it was sent).
--
-- One idea carries the openings. A person is folded several times, and every fold goes through the same SQL:
--   variant 0  all accepted events: V, once from NEW and once from a presumed home where there is one;
--   variant b  what was known in time for opening balance number b: V0.

-- ------------------------------------------------------------------------------------------------ words used below

-- The region `code` lies in `region` or is it.
CREATE OR REPLACE TEMP MACRO inside(code, region) AS
    code IS NOT NULL AND code <> 'abroad' AND (code = region OR region = 'ID' OR starts_with(code, region || '.'));

-- A code and all that contain it, from the smallest up to ID.
CREATE OR REPLACE TEMP MACRO lineage(code) AS
    CASE code WHEN 'ID' THEN ['ID'] WHEN 'ID-transit' THEN ['ID-transit', 'ID']
    ELSE list_append(
        list_transform(range(len(string_split(code, '.')), 0, -1),
                       lambda n: array_to_string(string_split(code, '.')[1:n], '.')), 'ID') END;

-- The zone of a region, as hours before UTC's midnight; WIB where nothing is known.
CREATE OR REPLACE TEMP MACRO zone_hours(code) AS
    CASE WHEN left(code, 2) IN ('51', '52', '53', '63', '64', '65', '71', '72', '73', '74', '75', '76') THEN 8
         WHEN left(code, 2) IN ('81', '82', '91', '92', '93', '94', '95', '96') THEN 9
         ELSE 7 END;

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

-- ------------------------------------------------------------------------------------------------------- 1. events

-- Ledger records that are events; control records of the ledger (genesis, epoch, day) are not, and copies that one
-- partition sent another because of a change of NIK are left out: the event itself is in the ledger too.
CREATE OR REPLACE TEMP TABLE accepted AS
    SELECT coalesce(subject, '') AS subject, source, id, type[8:-4] AS kind, CAST(time AS TIMESTAMP) AS time, data
    FROM ledger_record
    WHERE type IN (
        'lampit.register.v1', 'lampit.birth.v1', 'lampit.death.v1', 'lampit.move_out.v1', 'lampit.move_in.v1',
        'lampit.recording.v1', 'lampit.marriage.v1', 'lampit.residence_permit.v1', 'lampit.correction.v1',
        'lampit.missing.v1', 'lampit.found.v1', 'lampit.nik_change.v1', 'lampit.cancellation.v1',
        'lampit.opening_balance.v1')
    AND forwardedfrom IS NULL;

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

-- Every event that stands in its NIK. event_no is the order (time, source, id), used wherever the contract says so.
-- flow_only: "flow-only births (stillborn, already_registered)", which give birth date and sex and nobody a home.
CREATE OR REPLACE TEMP TABLE nik_event AS
    SELECT row_number() OVER (ORDER BY time, source, id, sha256(canonical), subject) AS event_no, *,
           kind = 'birth' AND (coalesce(data.stillborn, false) OR coalesce(data.already_registered, false)) AS flow_only
    FROM (SELECT *, CAST(NULL AS VARCHAR) AS canonical
          FROM accepted ANTI JOIN repeated USING (subject, source, id) ANTI JOIN linked USING (subject)
          UNION ALL BY NAME
          SELECT * EXCLUDE (place) FROM contested WHERE place = 1);

-- ----------------------------------------------------------------------------------------------------- 2. openings

-- "At equal D0 the latest (time, source, id) stands." cutoff is the end of D0 in the region's zone.
CREATE OR REPLACE TEMP TABLE balance AS
    SELECT row_number() OVER (ORDER BY data.occurred_on, data.region) AS balance_no,
           data.region AS region, data.occurred_on AS d0,
           CAST(data.occurred_on + 1 AS TIMESTAMP) - to_hours(zone_hours(data.region)) AS cutoff,
           data.counts AS counts,
           CASE WHEN json_array_length(data.turning_17) > 0 THEN CAST(data.turning_17 AS JSON[]) END AS schedule
    FROM nik_event
    WHERE kind = 'opening_balance'
    QUALIFY row_number() OVER (PARTITION BY data.region, data.occurred_on ORDER BY event_no DESC) = 1;

-- "Governs from D0 until the D0 of the region's next balance": the one of each region on the asked day.
CREATE OR REPLACE TEMP TABLE governing AS
    SELECT * FROM balance WHERE d0 <= getvariable('as_of')
    QUALIFY row_number() OVER (PARTITION BY region ORDER BY d0 DESC) = 1;

-- The codes that events name, with every accepted balance, of whatever D0, at or above them.
CREATE OR REPLACE TEMP TABLE governed AS
    WITH named AS (
        SELECT DISTINCT unnest([data.region, data.origin]) AS code FROM nik_event
        WHERE subject <> '' AND EXISTS (FROM balance))
    SELECT code, balance_no, balance.region, d0 FROM named JOIN balance ON inside(code, balance.region);

-- ------------------------------------------------------------------------------------------------------ 3. persons

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

CREATE OR REPLACE TEMP TABLE person_event AS
    SELECT 0 AS variant, subject AS person, subject AS person_now, true AS in_time, nik_event.*
    FROM nik_event
    WHERE subject <> '' AND subject NOT IN (SELECT subject FROM merged WHERE variant = 0)
    UNION ALL
    SELECT * EXCLUDE (place, same_content) FROM merged_contest WHERE place = 1;

-- "Presumed inside … whose earliest fact (residence fact or recording, in fold order, recordings ranking 5, cancelled
-- ones too) is not a birth, nor a register entry, nor a move_in or found from abroad, from null or from a region without
-- a governing balance": the home that follows from the earliest fact of all events, known in time or not.
CREATE OR REPLACE TEMP VIEW presumable AS
    WITH earliest AS (
        SELECT variant, person, any_value(person_now) AS person_now,
               arg_min({kind: kind, region: data.region, origin: data.origin},
                       walk_position(data.occurred_on, rank, event_no)) AS fact
        FROM person_event JOIN fact_rank USING (kind)
        WHERE NOT flow_only AND EXISTS (FROM balance)
        GROUP BY variant, person)
    SELECT variant, person, person_now,
           CASE WHEN fact.kind = 'move_in' THEN fact.origin
                WHEN fact.kind IN ('move_out', 'missing', 'death', 'recording') THEN fact.region END AS home
    FROM earliest
    WHERE home IN (SELECT code FROM governed);

-- The persons to be looked at as a balance knew them: for its figures, those with an event in its region, where it
-- governs before the asked day; and those who may be presumed inside, if a register or birth of theirs may be in time.
CREATE OR REPLACE TEMP TABLE variant_person AS
    SELECT DISTINCT balance_no, person_now
    FROM (SELECT person_now, unnest([data.region, data.origin]) AS code FROM person_event WHERE EXISTS (FROM balance))
    JOIN governed USING (code) JOIN governing USING (balance_no)
    WHERE governing.d0 < getvariable('as_of')
    UNION
    SELECT balance_no, person_now
    FROM presumable, balance
    WHERE person_now IN (SELECT person_now FROM person_event WHERE kind IN ('register', 'birth') AND NOT flow_only
                         -- one that lost a conflict after merging stood before it
                         UNION SELECT person FROM merged_now WHERE kind IN ('register', 'birth') AND NOT flow_only);

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
INSERT INTO person_event
    SELECT * EXCLUDE (is_merged) FROM variant_event WHERE NOT is_merged
    UNION ALL
    SELECT * EXCLUDE (place, same_content) FROM contest('merged_variant') WHERE place = 1;

-- ------------------------------------------------------------------------------------------------ 4. cancellations

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

-- ---------------------------------------------------------------------------------------------- 5. what then stands

CREATE OR REPLACE TEMP VIEW standing AS
    FROM person_event ANTI JOIN cancelled USING (variant, event_no) WHERE in_time;

-- "Of several register/birth events the earliest (time, source, id) stands."
CREATE OR REPLACE TEMP TABLE standing_entry AS
    SELECT variant, person, any_value(person_now) AS person_now, min(event_no) AS event_no
    FROM standing WHERE kind IN ('register', 'birth') AND NOT flow_only GROUP BY variant, person;

-- "Recordings, marriages and permits dated on or after a standing death: no effect." A death takes effect in every state
-- but DEAD, so the first day of a standing death is it.
CREATE OR REPLACE TEMP TABLE standing_death AS
    SELECT variant, person, min(data.occurred_on) AS died_on FROM standing WHERE kind = 'death' GROUP BY variant, person;

CREATE OR REPLACE TEMP VIEW effective AS
    SELECT standing.* FROM standing LEFT JOIN standing_death USING (variant, person)
    WHERE kind IN ('recording', 'marriage', 'residence_permit') AND (died_on IS NULL OR data.occurred_on < died_on);

-- "Someone without any standing register, birth, move_in or found": nothing of theirs has effect (unless presumed).
CREATE OR REPLACE TEMP TABLE placed AS
    SELECT variant, person FROM standing_entry
    UNION
    SELECT variant, person FROM standing WHERE kind IN ('move_in', 'found');

-- ----------------------------------------------------------------------------------------------- 6. presumed inside

-- Whom a register or birth known in time keeps from being presumed, balance by balance.
CREATE OR REPLACE TEMP TABLE entered_in_time AS
    SELECT DISTINCT variant AS balance_no, person_now FROM standing_entry WHERE variant <> 0;

-- Presumed inside under at least one accepted balance.
CREATE OR REPLACE TEMP TABLE presumed_person AS
    SELECT person, home FROM presumable
    WHERE variant = 0 AND (SELECT count(*) FROM balance)
        > (SELECT count(*) FROM entered_in_time WHERE entered_in_time.person_now = presumable.person);

-- The balance that governs a presumed home on the asked day: of the code and its ancestors "the one with the latest D0
-- by D, or the earliest of all when none is yet; at equal D0 that of the longest code".
CREATE OR REPLACE TEMP TABLE home_balance AS
    SELECT code AS home, balance_no FROM governed
    QUALIFY row_number() OVER (PARTITION BY code ORDER BY
        d0 <= getvariable('as_of') DESC,
        CASE WHEN d0 <= getvariable('as_of') THEN -epoch(d0) ELSE epoch(d0) END,
        len(region) * CASE WHEN region = 'ID' THEN 0 ELSE 1 END DESC) = 1;

-- -------------------------------------------------------------------------------------------------------- 7. folds

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
        JOIN governing ON governing.balance_no = variant AND governing.d0 < getvariable('as_of')
        LEFT JOIN presumed_in_time USING (variant, person)
        WHERE presumed_in_time.home IS NOT NULL OR (variant, person) IN (SELECT (variant, person) FROM placed))
    SELECT row_number() OVER () AS fold_no, * FROM every;

-- -------------------------------------------------------------------------------------------------------- 8. homes

-- The facts of each fold, numbered in the order in which they fold.
CREATE OR REPLACE TEMP TABLE fact AS
    SELECT fold_no, standing.event_no, standing.kind, data.occurred_on AS on_day, data.region AS region,
           data.destination AS destination,
           CASE WHEN kind IN ('register', 'birth') THEN 'entry'
                WHEN kind IN ('move_in', 'found') THEN 'arrival'
                WHEN kind = 'move_out' AND data.destination = 'abroad' THEN 'emigration'
                WHEN kind = 'move_out' THEN 'removal'
                ELSE kind END AS fact,
           row_number() OVER (PARTITION BY fold_no ORDER BY data.occurred_on, rank, standing.event_no) AS step
    FROM fold
    JOIN standing USING (variant, person)
    JOIN fact_rank USING (kind)
    LEFT JOIN standing_entry USING (variant, person)
    WHERE kind <> 'recording' AND (kind NOT IN ('register', 'birth') OR standing.event_no = standing_entry.event_no);

-- One row for the beginning of each fold (step 0: NEW, or the presumed home "where they have lived for ever") and one
-- after each fact. left_home: where someone in transit came from; unmatched: the home left unmatched, "until the next
-- change of home". With transit_expiry_days n, who is in transit since d without a change of home dated by d + n "is
-- back in the home they left from d + n on".
CREATE OR REPLACE TEMP TABLE walk AS
    WITH RECURSIVE walk AS (
        SELECT fold_no, CAST(0 AS BIGINT) AS step, CAST(NULL AS DATE) AS on_day,
               CASE WHEN presumed THEN 'HOME' ELSE 'NEW' END AS state, home,
               CAST(NULL AS VARCHAR) AS unmatched, CAST(NULL AS VARCHAR) AS left_home, CAST(NULL AS DATE) AS left_on,
               CAST(NULL AS VARCHAR) AS anomaly, CAST(NULL AS BIGINT) AS event_no
        FROM fold
        UNION ALL
        SELECT fold_no, step, situation.on_day,
               CASE becomes WHEN 'STAYS' THEN state ELSE becomes END,
               CASE becomes WHEN 'STAYS' THEN home WHEN 'HOME' THEN region END,
               CASE WHEN becomes = 'STAYS' THEN unmatched
                    WHEN situation.fact = 'arrival' AND situation.situation = 'ELSEWHERE' THEN home END,
               CASE becomes WHEN 'STAYS' THEN left_home WHEN 'TRANSIT' THEN home END,
               CASE becomes WHEN 'STAYS' THEN left_on WHEN 'TRANSIT' THEN situation.on_day END,
               state_table.anomaly, event_no
        FROM (
            SELECT *, CASE
                    WHEN state <> 'HOME' THEN state
                    WHEN home = region THEN 'HERE'
                    WHEN fact IN ('removal', 'emigration') AND (region = unmatched OR destination = home) THEN 'RETURNED'
                    ELSE 'ELSEWHERE' END AS situation
            FROM (
                SELECT fact.fold_no, fact.step, fact.on_day, fact.event_no, fact.fact, fact.region, fact.destination,
                       coalesce(walk.state = 'TRANSIT'
                           AND fact.on_day > walk.left_on + CAST(getvariable('transit_expiry_days') AS INTEGER),
                           false) AS expired,
                       CASE WHEN expired THEN 'HOME' ELSE walk.state END AS state,
                       CASE WHEN expired THEN walk.left_home ELSE walk.home END AS home,
                       walk.unmatched,
                       CASE WHEN NOT expired THEN walk.left_home END AS left_home,
                       CASE WHEN NOT expired THEN walk.left_on END AS left_on
                FROM walk JOIN fact ON fact.fold_no = walk.fold_no AND fact.step = walk.step + 1)) AS situation
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

-- --------------------------------------------------------------------------------------------------- 9. attributes

-- What an event says of the person: data.person, and a birth (flow-only ones too) its own day and sex.
CREATE OR REPLACE TEMP VIEW saying AS
    SELECT variant, person, event_no, in_time,
           CASE WHEN kind = 'birth' THEN data.occurred_on ELSE data.person.birth_date END AS birth_date,
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
    SELECT fold_no, min(data.occurred_on) AS married_on
    FROM fold JOIN effective USING (variant, person) WHERE kind = 'marriage' GROUP BY fold_no;

-- Obliged on both days a fold is asked for: "from min(17th birthday, first marriage or ever_married_on) on …, and citizen
-- or foreigner within the permanent permit (the residence_permit with the latest (occurred_on, time, source, id) up to D
-- says which; before the first, what the person data says)". Presumed inside: "obliged if the birth date is unknown".
CREATE OR REPLACE TEMP TABLE obliged AS
    WITH asked AS (SELECT fold_no, on_day FROM fold UNION SELECT fold_no, obliged_on FROM fold),
    governing_permit AS (
        SELECT fold_no, asked.on_day, arg_max({citizen: data.citizen, permit: data.permanent_permit},
                                              walk_position(data.occurred_on, 0, event_no)) AS last
        FROM asked JOIN fold USING (fold_no) JOIN effective USING (variant, person)
        WHERE kind = 'residence_permit' AND data.occurred_on <= asked.on_day
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

-- -------------------------------------------------------------------------------------------------------- 10. cards

-- "Recorded in V0 if … their first stage other than duplicate is sent, print_ready, printed or delivered": then they were
-- recorded before everything known of them, in V and V0 (over all recordings that have effect in V).
CREATE OR REPLACE TEMP TABLE first_stage AS
    SELECT person_event.variant, person_event.person,
           arg_min(coalesce(person_event.data.status, 'captured'),
                   walk_position(person_event.data.occurred_on, 0, event_no)) AS status
    FROM person_event JOIN presumable USING (variant, person)
    WHERE kind = 'recording' AND person_event.data.status IS DISTINCT FROM 'duplicate'
        AND (event_no IN (SELECT event_no FROM effective WHERE variant = 0 AND kind = 'recording')
             -- sent under two NIKs alike, it is the same event of each
             OR (person_event.person_now, source, id, canonical)
                 IN (SELECT (person, source, id, canonical) FROM effective WHERE variant = 0 AND kind = 'recording'))
    GROUP BY person_event.variant, person_event.person;

-- "Walk the recordings up to D in the order (occurred_on, time, source, id), recorded_on being a capture on its day":
-- it comes before the recording events of that day.
CREATE OR REPLACE TEMP TABLE stage AS
    SELECT fold_no, coalesce(data.status, 'captured') AS status, walk_position(data.occurred_on, 1, event_no) AS position
    FROM fold JOIN effective USING (variant, person)
    WHERE kind = 'recording' AND data.occurred_on <= on_day
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

-- ------------------------------------------------------------------------------------- 11. one person's figures

-- "Counted at home, not where served, while obliged; otherwise recorded_early. print_ready and issued likewise only while
-- obliged." Only obliged itself looks at obliged_on.
CREATE OR REPLACE TEMP TABLE figure AS
    SELECT fold_no, fold.variant, fold.person, fold.presumed, place.place,
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
    LEFT JOIN card USING (fold_no) LEFT JOIN said USING (fold_no) LEFT JOIN corrected USING (fold_no);

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

-- "total_R(D) = B + Σ over persons p of (V_p(D) − V0_p)": what is added and taken away, by the balance that governs R.
CREATE OR REPLACE TEMP TABLE moved AS
    WITH within AS (
        SELECT place, balance_no FROM (SELECT DISTINCT place FROM figure) AS places
        JOIN governing ON inside(place, region) WHERE d0 < getvariable('as_of'))
    SELECT within.balance_no, 1 AS sign, figure.*
    FROM figure JOIN within USING (place)
    LEFT JOIN presumed_person USING (person)
    LEFT JOIN entered_in_time
        ON entered_in_time.balance_no = within.balance_no AND entered_in_time.person_now = figure.person
    WHERE figure.variant = 0
        AND presumed = (presumed_person.person IS NOT NULL AND entered_in_time.person_now IS NULL)
    UNION ALL
    SELECT within.balance_no, -1, figure.*
    FROM figure JOIN within ON within.place = figure.place AND within.balance_no = figure.variant;

-- --------------------------------------------------------------------------------------------------- 12. regions

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
    SELECT place AS node, sex, sum(population) AS population, sum(obliged) AS obliged, sum(recorded) AS recorded,
           sum(recorded_early) AS recorded_early, sum(print_ready) AS print_ready, sum(issued) AS issued
    FROM known GROUP BY place, sex;
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
    WITH line AS (
        SELECT balance_no, d0, CAST(json_extract_string(line, '$.on') AS DATE) AS on_day, json_extract(line, '$.count') AS count
        FROM (SELECT balance_no, d0, unnest(schedule) AS line FROM governing)),
    turned AS (
        SELECT balance_no, 'obliged' AS measure, sex,
               sum(CASE WHEN json_type(count) <> 'OBJECT' AND sex = 'unknown' THEN CAST(count AS BIGINT)
                        ELSE coalesce(stated_count(count, sex), 0) END) AS number
        FROM line, sex WHERE on_day > d0 AND on_day <= getvariable('as_of') GROUP BY balance_no, sex)
    SELECT balance_no, region, measure, sex,
           stated_count(json_extract(counts, '$.' || measure), sex) + coalesce(turned.number, 0) AS number
    FROM governing CROSS JOIN measure CROSS JOIN sex LEFT JOIN turned USING (balance_no, measure, sex);

CREATE OR REPLACE TEMP TABLE balance_figure AS
    SELECT stated.region AS node, stated.measure, stated.sex, stated.number + coalesce(change.number, 0) AS number
    FROM stated
    LEFT JOIN (FROM by_measure('moved_row')) AS change
        ON change.node = stated.balance_no AND change.measure = stated.measure AND change.sex = stated.sex;

-- Which regions a part is added into: all above it up to the first that has a balance of its own; known people also into
-- their own place, unless it has one. "None (before its first D0: null figures, left out of ancestors)."
CREATE OR REPLACE TEMP TABLE part AS
    WITH above AS (
        SELECT node, unnest(lineage(node)) AS region, unnest(range(0, len(lineage(node)))) AS height, 0 AS lowest
        FROM (SELECT DISTINCT place AS node FROM known)
        UNION ALL
        SELECT node, unnest(lineage(node)), unnest(range(0, len(lineage(node)))), 1
        FROM (SELECT region AS node FROM governing)),
    stopped AS (
        SELECT node, lowest, min(height) AS height FROM above
        WHERE region IN (SELECT region FROM balance) AND height >= lowest GROUP BY node, lowest)
    SELECT above.node, above.lowest = 1 AS is_balance, above.region
    FROM above LEFT JOIN stopped USING (node, lowest)
    WHERE above.height >= lowest AND (stopped.height IS NULL OR above.height < stopped.height);

-- The regions with any standing event or balance in their subtree, those where somebody is (a presumed home is named by
-- no event that stands in it), and ID-transit.
CREATE OR REPLACE TEMP TABLE shown AS
    WITH named AS (
        SELECT DISTINCT data.region AS code FROM standing WHERE variant = 0 AND data.region IS NOT NULL
        UNION SELECT place FROM known
        UNION SELECT region FROM balance)
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
           CASE WHEN shown.region IN (SELECT region FROM governing) THEN balance_figure.number
                WHEN shown.region IN (SELECT region FROM balance) THEN NULL
                WHEN summed.region IS NULL THEN 0
                ELSE summed.number END AS number
    FROM shown CROSS JOIN measure CROSS JOIN sex
    LEFT JOIN balance_figure ON node = shown.region AND balance_figure.measure = measure.measure
        AND balance_figure.sex = sex.sex
    LEFT JOIN summed ON summed.region = shown.region AND summed.measure = measure.measure AND summed.sex = sex.sex;

-- opening, "in this precedence: balance | none | partial | parent | register".
CREATE OR REPLACE TEMP TABLE region_opening AS
    SELECT region, CASE
            WHEN region IN (SELECT region FROM governing) THEN 'balance'
            WHEN region IN (SELECT region FROM balance) THEN 'none'
            WHEN EXISTS (SELECT 1 FROM balance WHERE inside(balance.region, shown.region)) THEN 'partial'
            WHEN EXISTS (SELECT 1 FROM balance WHERE inside(shown.region, balance.region)) THEN 'parent'
            ELSE 'register' END AS opening
    FROM shown;

CREATE OR REPLACE TEMP MACRO four(of, numbers, sexes, measures) AS {
    M: max(numbers) FILTER (measures = of AND sexes = 'M'),
    F: max(numbers) FILTER (measures = of AND sexes = 'F'),
    unknown: max(numbers) FILTER (measures = of AND sexes = 'unknown'),
    total: max(numbers) FILTER (measures = of AND sexes = 'total')};

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
           CASE WHEN record.region = 'ID' THEN 'country' WHEN record.region = 'ID-transit' THEN 'transit'
                ELSE ['province', 'regency', 'district', 'village'][len(string_split(record.region, '.'))] END AS level,
           CASE WHEN record.region = 'ID' THEN 'Indonesia' WHEN record.region = 'ID-transit' THEN 'In transit'
                ELSE region_reference.name END AS name,
           CAST(getvariable('as_of') AS DATE) AS as_of,
           population, obliged, recorded, recorded_early, print_ready, issued,
           {M: obliged.M - recorded.M, F: obliged.F - recorded.F, unknown: obliged.unknown - recorded.unknown,
            total: obliged.total - recorded.total} AS unrecorded,
           CASE WHEN opening <> 'parent' THEN recorded.total / CAST(nullif(obliged.total, 0) AS DOUBLE) END AS coverage,
           opening,
           coalesce(schedule IS NULL AND getvariable('as_of') >= d0 + CAST(getvariable('stale_after_days') AS INTEGER),
                    false) AS stale_denominator
    FROM record JOIN region_opening USING (region)
    LEFT JOIN governing USING (region)
    LEFT JOIN region_reference ON region_reference.code = record.region
    ORDER BY record.region;

-- --------------------------------------------------------------------------------------------------- 13. anomalies
-- "They depend on the set of events, not on D." Of a cancelled event none, of the loser of a conflict that alone.

-- The fold that is judged: the presumed one of a person presumed under any balance, else the plain one.
CREATE OR REPLACE TEMP TABLE judged AS
    SELECT fold_no, fold.person FROM fold LEFT JOIN presumed_person USING (person)
    WHERE variant = 0 AND presumed = (presumed_person.person IS NOT NULL);

CREATE OR REPLACE TEMP VIEW judged_event AS
    SELECT standing.*, judged.fold_no FROM standing LEFT JOIN judged USING (person) WHERE variant = 0;

-- When a code is in the reference: it turns with the decrees that begin or end it (a rename does neither, a split does
-- not end the old code); a code without a turn is there always or never.
CREATE OR REPLACE TEMP TABLE region_turn AS
    SELECT code, on_day, bool_or(begins) AS begins, bool_or(ends) AS ends
    FROM (SELECT new_code AS code, effective_on AS on_day, true AS begins, false AS ends
          FROM region_change WHERE kind <> 'rename' AND new_code IS NOT NULL
          UNION ALL
          SELECT old_code, effective_on, false, true
          FROM region_change WHERE kind NOT IN ('rename', 'split') AND old_code IS NOT NULL)
    GROUP BY code, on_day;

CREATE OR REPLACE TEMP TABLE unknown_region AS
    WITH doubtful AS (
        SELECT person, source, id, data.region AS code, data.occurred_on AS on_day
        FROM (SELECT person, source, id, data FROM standing WHERE variant = 0
              UNION ALL
              SELECT '', source, id, data FROM nik_event WHERE kind = 'opening_balance')
        WHERE data.region <> 'ID' AND (data.region NOT IN (SELECT code FROM region_reference)
                                       OR data.region IN (SELECT code FROM region_turn)))
    SELECT person, source, id FROM (
        SELECT person, source, id, doubtful.code,
               arg_max(begins, region_turn.on_day) FILTER (region_turn.on_day <= doubtful.on_day) AS begun,
               arg_min(ends, region_turn.on_day) FILTER (region_turn.on_day > doubtful.on_day) AS yet_to_end
        FROM doubtful LEFT JOIN region_turn USING (code) GROUP BY person, source, id, doubtful.code, doubtful.on_day)
    WHERE NOT coalesce(begun, yet_to_end, code IN (SELECT code FROM region_reference));

-- "Counted somewhere, no birth date from any event": home or in transit at the end of some day.
CREATE OR REPLACE TEMP TABLE birth_date_unknown AS
    WITH counted AS (
        SELECT DISTINCT fold_no FROM (
            SELECT fold_no, state, on_day, lead(on_day) OVER (PARTITION BY fold_no ORDER BY step) AS next_day
            FROM walk JOIN judged USING (fold_no))
        WHERE state IN ('HOME', 'TRANSIT') AND (on_day IS NULL OR next_day IS NULL OR on_day < next_day))
    SELECT person, source, id
    FROM judged_event JOIN fact_rank USING (kind)
    JOIN counted USING (fold_no) LEFT JOIN said USING (fold_no) LEFT JOIN corrected USING (fold_no)
    WHERE NOT flow_only AND said.birth_date IS NULL AND corrected.birth_date IS NULL
    QUALIFY row_number() OVER (PARTITION BY person ORDER BY data.occurred_on, rank, event_no) = 1;

CREATE OR REPLACE TEMP TABLE anomaly AS
    WITH every AS (
        -- as the state table says; never on the register or birth that stands
        SELECT person, source, id, anomaly AS kind
        FROM walk JOIN judged_event USING (fold_no, event_no)
        WHERE anomaly IS NOT NULL AND judged_event.kind NOT IN ('register', 'birth')
        UNION
        SELECT person, source, id, 'already_born'
        FROM standing JOIN standing_entry USING (variant, person)
        WHERE variant = 0 AND kind IN ('register', 'birth') AND NOT flow_only
            AND standing.event_no <> standing_entry.event_no
        UNION
        SELECT person, source, id, 'unplaced'
        FROM judged_event JOIN fact_rank USING (kind) WHERE fold_no IS NULL AND NOT flow_only
        UNION
        SELECT person, source, id, 'after_death'
        FROM judged_event ANTI JOIN effective ON effective.variant = 0 AND effective.event_no = judged_event.event_no
        WHERE kind IN ('recording', 'marriage', 'residence_permit') AND fold_no IS NOT NULL
        UNION
        SELECT person, source, id, 'suspected_double'
        FROM judged_event
        WHERE kind = 'recording' AND data.status = 'duplicate'
            AND (fold_no IS NULL OR event_no IN (SELECT event_no FROM effective WHERE variant = 0))
        UNION
        SELECT coalesce(merged.person, contested.subject), source, id, 'conflicting_duplicate'
        FROM contested
        LEFT JOIN merged ON merged.variant = 0 AND merged.subject = contested.subject WHERE place > 1
        UNION
        SELECT person, source, id, 'conflicting_duplicate' FROM merged_contest WHERE NOT same_content
        UNION
        SELECT person, source, id, 'cancels_nothing'
        FROM cancellation ANTI JOIN cancelled USING (variant, event_no)
        WHERE variant = 0 AND (target_no IS NULL OR target_kind = 'nik_change')
        UNION
        SELECT person, source, id, 'cancellation_cycle'
        FROM cancellation SEMI JOIN cycle USING (variant, event_no) ANTI JOIN cancelled USING (variant, event_no)
        WHERE variant = 0
        UNION
        SELECT person, source, id, 'birth_date_unknown' FROM birth_date_unknown
        UNION
        SELECT person, source, id, 'unknown_region' FROM unknown_region)
    SELECT nullif(person, '') AS subject, source, id, kind FROM every ORDER BY person, source, id, kind;
