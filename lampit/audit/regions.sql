-- Region codes through time: docs/decisions/0007-region-codes-through-time.md, readings 1 to 7 and 12, as SQL for DuckDB.
--
-- In:  region_reference (the codes in force today) and region_change (dated changes), as shipped.
-- Out: the tables in_force, place_of, later_place, place_then, code_then and name_then, which say something of codes that changed
--      only: any other code is one place for ever, called by its code; and steady_code, of those that are one place at all times.
-- Run once in a process; region_words.sql has the words by which count.sql asks them.
--
-- An era is the time between two change days: era 0 until the first, era n from the nth on. A place is called by its code; of
-- a code that several places had one after the other, the later ones by `code~YYYY-MM-DD`, the day they began.

CREATE TABLE change_day AS
    SELECT row_number() OVER (ORDER BY on_day) AS era, on_day
    FROM (SELECT DISTINCT effective_on AS on_day FROM region_change);
CREATE TABLE era AS SELECT unnest(range(0, (SELECT count(*) + 1 FROM change_day))) AS era;

-- The code right above, by prefix.
CREATE MACRO prefix_of(code) AS
    CASE WHEN len(code) = 2 THEN 'ID' ELSE left(code, len(code) - CASE len(code) WHEN 13 THEN 5 ELSE 3 END) END;

-- ------------------------------------------------------------------------------------------ 1, 2. validity

-- "The old_code leaves and the new_code arrives of recode, move, status, merge, new and retired. split makes only its
-- new_code arrive. rename does neither." goes_on: "retired and new of one code on one day are one place that goes on".
CREATE TABLE turn AS
    WITH side AS (
        SELECT effective_on AS on_day, kind, new_code AS code, true AS arrives
        FROM region_change WHERE kind <> 'rename' AND new_code IS NOT NULL
        UNION ALL
        SELECT effective_on, kind, old_code, false
        FROM region_change WHERE kind NOT IN ('rename', 'split') AND old_code IS NOT NULL),
    alike AS (
        SELECT code, on_day FROM side GROUP BY code, on_day
        HAVING bool_or(kind = 'retired') AND bool_or(kind = 'new'))
    SELECT side.code, era, bool_or(arrives) AS arrives, bool_or(NOT arrives) AS leaves,
           bool_or(arrives AND NOT (alike.code IS NOT NULL AND kind IN ('retired', 'new'))) AS begins,
           bool_or(NOT arrives AND NOT (alike.code IS NOT NULL AND kind IN ('retired', 'new'))) AS ends
    FROM side JOIN change_day USING (on_day) LEFT JOIN alike ON alike.code = side.code AND alike.on_day = side.on_day
    GROUP BY side.code, era;

-- "The codes of the reference are in force today. Going back, before a day the codes that arrived on it and did not leave
-- are not in force, and those that left and did not arrive are": the next day that does either says which.
CREATE TABLE in_force AS
    WITH every AS (SELECT DISTINCT code, era.era FROM turn, era),
    next_turn AS (
        SELECT every.code, every.era, arg_min(turn.leaves, turn.era) AS left_next
        FROM every JOIN turn ON turn.code = every.code AND turn.era > every.era AND turn.arrives <> turn.leaves
        GROUP BY every.code, every.era)
    SELECT code, era, coalesce(left_next, code IN (SELECT code FROM region_reference)) AS in_force
    FROM every LEFT JOIN next_turn USING (code, era);

-- ------------------------------------------------------------------------------------- 3. places, 4. resolving

-- "A place is a code and the day from which it had it without a break; a code that leaves and arrives on one day ends as
-- one place and begins as another."
CREATE TABLE place_run AS
    WITH beginning AS (
        SELECT in_force.*, NOT coalesce(lag(in_force.in_force) OVER (PARTITION BY code ORDER BY era), false)
               OR coalesce(begins AND ends, false) AS is_first
        FROM in_force LEFT JOIN turn USING (code, era)),
    numbered AS (
        SELECT code, era, sum(CAST(is_first AS INTEGER)) OVER (PARTITION BY code ORDER BY era) AS number
        FROM beginning WHERE in_force),
    run AS (SELECT code, number, min(era) AS first_era, max(era) AS last_era FROM numbered GROUP BY code, number)
    SELECT code || CASE WHEN number = 1 THEN '' ELSE '~' || change_day.on_day END AS place, code, first_era, last_era
    FROM run LEFT JOIN change_day ON change_day.era = first_era;

-- Codes of the reference, or once of it, that only one place ever had, with the first and last day on which they are in force.
CREATE TABLE steady_code AS
    SELECT code, DATE '-infinity' AS since, DATE 'infinity' AS until
    FROM region_reference WHERE code NOT IN (SELECT code FROM turn)
    UNION ALL
    SELECT code, coalesce(begun.on_day, DATE '-infinity'), coalesce(CAST(ended.on_day - 1 AS DATE), DATE 'infinity')
    FROM place_run
    LEFT JOIN change_day AS begun ON begun.era = first_era LEFT JOIN change_day AS ended ON ended.era = last_era + 1
    WHERE code IN (SELECT code FROM place_run GROUP BY code HAVING count(*) = 1);

-- "By recode, move, status and merge the place of the old code becomes the place of the new code that begins that day."
CREATE TABLE became AS
    SELECT DISTINCT ended.place, begun.place AS next_place
    FROM region_change JOIN change_day ON change_day.on_day = effective_on
    JOIN place_run AS ended ON ended.code = old_code AND ended.last_era = era - 1
    JOIN place_run AS begun ON begun.code = new_code AND begun.first_era = era
    WHERE kind IN ('recode', 'move', 'status', 'merge');

-- "A code named on a day is, of the places with that code: the one in force on that day; else the last one that had ended
-- by then; else the first one to come."
CREATE TABLE place_of AS
    SELECT code, era.era, place FROM place_run, era
    QUALIFY row_number() OVER (PARTITION BY code, era.era ORDER BY
        first_era > era.era, CASE WHEN first_era <= era.era THEN -first_era ELSE first_era END) = 1;
CREATE TABLE later_place AS FROM place_of WHERE place <> code;

-- ---------------------------------------------------------------------------------------- 5. the place on a day

-- "p, if in force on D; after that, what p has become by D; before p begins, the one place that becomes p, and so on back.
-- Where it goes no further (not yet, no longer, or several that merge into it), the last one found on the way."
CREATE TABLE place_then AS
    WITH RECURSIVE
    came_from AS (
        SELECT next_place AS place, min(place) AS earlier_place FROM became GROUP BY next_place HAVING count(*) = 1),
    way AS (
        SELECT place, era.era, place AS reached, 0 AS step FROM place_run, era
        UNION ALL
        SELECT way.place, way.era, coalesce(became.next_place, came_from.earlier_place), step + 1
        FROM way JOIN place_run ON place_run.place = way.reached
        LEFT JOIN became ON became.place = way.reached AND way.era > last_era
        LEFT JOIN came_from ON came_from.place = way.reached AND way.era < first_era
        WHERE became.next_place IS NOT NULL OR came_from.earlier_place IS NOT NULL)
    SELECT way.place, era, arg_max(reached, step) AS place_now FROM way GROUP BY way.place, era;

-- ----------------------------------------------------------------------------------------- 6. the code on a day

-- "If not in force on D, it is unresolved on D: its people stay on the code c that it had (will have) as long as (a) c on D
-- resolves to this very place, and (b) the place above it has on D the code that is c's prefix. Otherwise they count at the code
-- that the place above has on D. The place above is what c's prefix resolves to on the last day on which the place was in
-- force (before it begins: on its first day)." Level by level, provinces first; keeps: in force, or (a) holds.
CREATE TABLE code_then (place VARCHAR, era BIGINT, code VARCHAR);
CREATE TABLE to_place AS
    SELECT place_then.place, place_then.era, place_run.code, first_era <= place_then.era AND place_then.era <= last_era AS stands,
           place_of.place = place_now AS is_its_own, prefix_of(place_run.code) AS prefix,
           CASE WHEN place_then.era > last_era THEN last_era ELSE first_era END AS era_above
    FROM place_then
    JOIN place_run ON place_run.place = place_now
    JOIN place_of ON place_of.code = place_run.code AND place_of.era = place_then.era;
CREATE MACRO codes_of_length(length) AS TABLE
    SELECT to_place.place, to_place.era,
           CASE WHEN stands OR (is_its_own AND coalesce(code_then.code, place_of.place, prefix) = prefix) THEN to_place.code
                ELSE coalesce(code_then.code, place_of.place, prefix) END AS code
    FROM to_place
    LEFT JOIN place_of ON place_of.code = prefix AND place_of.era = era_above
    LEFT JOIN code_then ON code_then.place = place_of.place AND code_then.era = to_place.era
    WHERE len(to_place.code) = length;
INSERT INTO code_then FROM codes_of_length(2);
INSERT INTO code_then FROM codes_of_length(5);
INSERT INTO code_then FROM codes_of_length(8);
INSERT INTO code_then FROM codes_of_length(13);
-- Where the code is that of the place's name, there is nothing to say.
DELETE FROM code_then WHERE code = place;
DELETE FROM place_then WHERE place_now = place;

-- ------------------------------------------------------------------------------------------------- 12. names

-- "The old_name of the earliest row after that day with that old_code, of whatever kind; else the reference's name; else, as the
-- code has ended, the old_name of the latest row with that old_code."
CREATE TABLE name_then AS
    WITH old AS (
        SELECT old_code AS code, era, min(old_name) AS name
        FROM region_change JOIN change_day ON on_day = effective_on WHERE old_code IS NOT NULL GROUP BY old_code, era)
    SELECT code, era.era,
           coalesce(arg_min(old.name, old.era) FILTER (old.era > era.era), any_value(region_reference.name),
                    arg_max(old.name, old.era)) AS name
    FROM old CROSS JOIN era LEFT JOIN region_reference USING (code)
    GROUP BY code, era.era;
