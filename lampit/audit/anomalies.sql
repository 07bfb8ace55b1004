-- The anomalies of the second count: the last table of section 2 of the contract, as SQL for DuckDB.
--
-- In:  the tables that count.sql has made, whatever its day. Out: the table anomaly (one row for each anomaly of an event).
-- "They depend on the set of events, not on D." Of a cancelled event none, of the loser of a conflict that alone.

-- The fold that is judged: the presumed one of a person presumed under any balance, else the plain one.
CREATE OR REPLACE TEMP TABLE judged AS
    SELECT fold_no, fold.person FROM fold LEFT JOIN presumed_person USING (person)
    WHERE variant = 0 AND presumed = (presumed_person.person IS NOT NULL);

CREATE OR REPLACE TEMP VIEW judged_event AS
    SELECT standing.*, judged.fold_no FROM standing LEFT JOIN judged USING (person) WHERE variant = 0;

-- "unknown_region: the code is not in force on that day": as it was sent.
CREATE OR REPLACE TEMP TABLE unknown_region AS
    SELECT person, source, id
    FROM (SELECT person, source, id, data, era FROM standing WHERE variant = 0
          UNION ALL
          SELECT '', source, id, data, era FROM nik_event WHERE kind = 'opening_balance') AS named
    LEFT JOIN in_force ON in_force.code = data.region AND in_force.era = named.era
    WHERE coalesce(data.region, 'ID') <> 'ID'
        AND NOT coalesce(in_force.in_force, data.region IN (SELECT code FROM region_reference));

-- "Counted somewhere, no birth date from any event": home or in transit at the end of some day.
CREATE OR REPLACE TEMP TABLE birth_date_unknown AS
    WITH unborn AS (
        SELECT fold_no FROM judged LEFT JOIN said USING (fold_no) LEFT JOIN corrected USING (fold_no)
        WHERE said.birth_date IS NULL AND corrected.birth_date IS NULL),
    counted AS (
        SELECT DISTINCT fold_no FROM (
            SELECT fold_no, state, on_day, lead(on_day) OVER (PARTITION BY fold_no ORDER BY step) AS next_day
            FROM walk SEMI JOIN unborn USING (fold_no))
        WHERE state IN ('HOME', 'TRANSIT') AND (on_day IS NULL OR next_day IS NULL OR on_day < next_day))
    SELECT person, source, id
    FROM judged_event JOIN fact_rank USING (kind)
    JOIN counted USING (fold_no)
    WHERE NOT flow_only
    QUALIFY row_number() OVER (PARTITION BY person ORDER BY occurred_on, rank, event_no) = 1;

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
        WHERE kind = 'recording' AND status = 'duplicate'
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
