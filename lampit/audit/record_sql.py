"""Records put together again in SQL, of the columns into which the archive takes them apart (docs/decisions/0010).

In: nothing. Out: SQL for DuckDB. Used by the archive and by an index made of it.
"""

from __future__ import annotations

from typing import Final

_INSTANT_TEXT: Final = (
    "strftime({0}, '%Y-%m-%dT%H:%M:%S') || CASE WHEN epoch_us({0}) % 1000000 = 0 THEN ''"
    " ELSE strftime({0}, '.%f') END || 'Z'"
)
_VALUE: Final = (
    """'{{"specversion":"1.0","id":"' || id || '","source":"' || source || '","type":"' || type || '","time":"' || """
    + _INSTANT_TEXT.format("time")
    + """ || '","subject":"' || subject || '","receivedat":"' || """
    + _INSTANT_TEXT.format("receivedat")
    + """ || '","data":{{"occurred_on":"' || strftime(occurred_on, '%Y-%m-%d') || '"' ||"""
    """ coalesce(',"region":"' || region || '"', '') || rest"""
)
RECORD: Final = f"CASE WHEN raw_value IS NOT NULL THEN decode(raw_value) ELSE {_VALUE} END"
"""The JSON text of a record, of the columns of a segment (braces doubled, for str.format)."""
# In a record taken apart a text is still as JSON writes it.
_TEXT: Final = (
    "CASE WHEN raw_value IS NULL AND contains({0}, '\\')"
    """ THEN json_extract_string('"' || {0} || '"', '$') ELSE {0} END AS {0}"""
)
RECORDS_SQL: Final = (
    f'SELECT partition, "offset", timestamp_ms, subject, type, {_TEXT.format("source")}, {_TEXT.format("id")}, '
    "time, occurred_on, region, receivedat, "
    f"{RECORD} AS record "
    "FROM read_parquet([{files}], hive_partitioning = true, hive_types = {{'partition': INTEGER}})"
)
