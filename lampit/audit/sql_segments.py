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

# The `rest` of most register entries is one of a few texts with days in them: which, its length says. Any other is not brief.
_DAY: Final = "____-__-__"
_FORMS: Final = tuple(
    {
        "birth_date": f',"person":{{"birth_date":"{_DAY}"',
        "sex": sex,
        "ever_married_on": married,
        "recorded_on": recorded,
        "end": "}}}",
    }
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
       {birth_date} AS birth_date,
       CASE WHEN type <> 'lampit.birth.v1' THEN {sex}
            WHEN rest = ',"sex":"F"}}}}' THEN 'F' WHEN rest = ',"sex":"M"}}}}' THEN 'M' END AS sex,
       {ever_married_on} AS ever_married_on, {recorded_on} AS recorded_on,
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
        f"WHEN {len(text)} THEN CASE WHEN rest LIKE '{text}' THEN {number} END" for number, text in enumerate(_texts())
    )
    return _BRIEF.format(
        files=files,
        form=f"CASE strlen(rest) {whens} END",
        birth_date=_said("birth_date", "DATE"),
        sex=_said("sex", "VARCHAR"),
        ever_married_on=_said("ever_married_on", "DATE"),
        recorded_on=_said("recorded_on", "DATE"),
    )


def _texts() -> list[str]:
    """Each form as a pattern of LIKE."""
    return ["".join(form.values()) for form in _FORMS]


def _said(name: str, kind: str) -> str:
    """A field, from where it stands in each form that has it."""
    blank = "_" if name == "sex" else _DAY
    whens = []
    for number, (form, text) in enumerate(zip(_FORMS, _texts(), strict=True)):
        if form[name]:
            first = text.index(form[name]) + form[name].index(f'"{blank}"') + 2
            whens.append(f"WHEN {number} THEN CAST(rest[{first}:{first + len(blank) - 1}] AS {kind})")
    return f"CASE form {' '.join(whens)} END"
