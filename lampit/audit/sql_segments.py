"""Segments of an archive (docs/decisions/0010) as SQL reads them: records taken apart, most of which need no parsing.

In: the files, and DuckDB's types of `data`. Out: queries of three shapes, those of `lampit.audit.sql_input`, which calls this.
A text that stood in a record is still as JSON writes it. A copy under another person id is never taken apart.
"""

from __future__ import annotations

from typing import Final

_RECORDS: Final = """
SELECT subject, CAST(NULL AS VARCHAR) AS forwardedfrom,
       CASE WHEN contains(source, '\\') THEN json_extract_string('"' || source || '"', '$') ELSE source END AS source,
       CASE WHEN contains(id, '\\') THEN json_extract_string('"' || id || '"', '$') ELSE id END AS id, type, time,
       struct_update({data}, occurred_on := occurred_on, region := coalesce(region, {data}.region)) AS data
FROM (FROM read_parquet({files}) WHERE raw_value IS NULL{those})
"""
_REST: Final = "from_json(CASE WHEN rest = '}}}}' THEN '{{}}' ELSE '{{' || rest[2:-2] END, '{types}')"

# The `rest` of most register entries is one of eight texts with days in them: which, its length says. Any other is not brief.
# As a number of three binary digits: with sex, with ever_married_on, with recorded_on; all begin with birth_date.
_DAY: Final = "____-__-__"
_FORMS: Final = tuple(
    f',"person":{{"birth_date":"{_DAY}"{sex}{married}{recorded}}}}}}}'
    for sex in ("", ',"sex":"_"')
    for married in ("", f',"ever_married_on":"{_DAY}"')
    for recorded in ("", f',"recorded_on":"{_DAY}"')
)
# Inside a text, JSON writes a backslash before a quotation mark: the name of a field between marks is nothing else.
_BRIEF: Final = """
SELECT subject, source, id, type, occurred_on, region,
       type = 'lampit.move_out.v1' AND contains(rest, '"destination":"abroad"') AS goes_abroad,
       CASE WHEN type = 'lampit.recording.v1' AND contains(rest, '"status"')
            THEN regexp_extract(rest, '"status":"([a-z_]+)"', 1) ELSE 'captured' END AS status,
       CASE WHEN form IS NOT NULL THEN CAST(rest[26:35] AS DATE) END AS birth_date,
       CASE WHEN form >= 4 THEN rest[45:45] WHEN type <> 'lampit.birth.v1' THEN NULL
            WHEN rest = ',"sex":"F"}}}}' THEN 'F' WHEN rest = ',"sex":"M"}}}}' THEN 'M' END AS sex,
       CASE WHEN form >= 6 THEN CAST(rest[67:76] AS DATE)
            WHEN form BETWEEN 2 AND 3 THEN CAST(rest[57:66] AS DATE) END AS ever_married_on,
       CASE WHEN form % 2 = 1 THEN CAST(rest[-14:-5] AS DATE) END AS recorded_on,
       CASE WHEN contains(source, '\\') OR contains(id, '\\') THEN true
            WHEN rest = '}}}}' THEN false
            WHEN type = 'lampit.register.v1' THEN form IS NULL
            WHEN type = 'lampit.birth.v1' THEN rest NOT IN (',"sex":"F"}}}}', ',"sex":"M"}}}}')
            ELSE contains(rest, '"person"') OR contains(rest, '"region"') END AS says_more
FROM (SELECT *, CASE WHEN type = 'lampit.register.v1' THEN {form} END AS form
      FROM read_parquet({files}) WHERE raw_value IS NULL)
"""


def records(files: str, types: str, those: str = "") -> str:
    """Every record taken apart, or of `those` (a condition): only what is left of `data` is JSON to parse.

    `files` is a list of SQL, `types` what from_json is told of `data`.
    """
    return _RECORDS.format(files=files, data=_REST.format(types=types), those=those)


def brief(files: str) -> str:
    """What is brief of every record taken apart, without parsing."""
    whens = " ".join(
        f"WHEN {len(form)} THEN CASE WHEN rest LIKE '{form}' THEN {number} END" for number, form in enumerate(_FORMS)
    )
    return _BRIEF.format(files=files, form=f"CASE strlen(rest) {whens} END")
