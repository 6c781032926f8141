"""Applies what was settled by hand: `decisions.tsv`, one line a doubt, each with its reason.

A decision that changes nothing is an error: then the sources have changed, and it must be looked at again.
"""
import csv
import pathlib

import sources
from writer import PRIMITIVES

FILE = pathlib.Path(__file__).resolve().parent / "decisions.tsv"
NUMBERS = {"repeats", "length"}
# What OBX-2 may not name, and what is no data type at all.
NO_VALUE_TYPES = {"CM", "CQ", "SI", "ID", "varies", "NUL", "WD"}
# Coded values and numbers with units need room for more than their code: so few characters are those of the code alone.
CODED = {"CE", "CNE", "CWE", "CX", "EI", "XON", "CP", "CQ", "DTN", "CM_DTN"}
SHORTEST = 10


def rows():
    with FILE.open() as lines:
        yield from csv.DictReader(lines, delimiter="\t")


def versions(text):
    """`2.3,2.4-2.6` to the names of versions."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        at = sources.VERSIONS.index
        yield from sources.VERSIONS[at(first):at(last or first) + 1]


def numbers(text):
    """`7-10,12` to numbers."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def fields(version, notes):
    """Fields of segments, when the types are complete."""
    for row in rows():
        if " " in row["place"] or version.name not in versions(row["versions"]):
            continue
        owner, _, which = row["place"].partition(".")
        for number in numbers(which):
            target = version.segments.get(owner, version.types.get(owner))[number - 1]
            value = int(row["value"]) if row["what"] in NUMBERS else row["value"]
            assert target[row["what"]] != value, (version.name, row)
            target[row["what"]] = value
            if row["what"] == "type" and value not in version.types:
                version.types[value] = []
            if row["what"] == "type" and value == "CM":
                target["table"] = 0
            notes.add("decided", version.name, f"{owner}.{number}", f"{row['what']} {row['value']}: {row['reason']}")
    for owner, layout in version.segments.items():
        for number, field in enumerate(layout, 1):
            if field["type"] in CODED and 0 < field["length"] < SHORTEST and version.name < "2.7":
                notes.add("length-of-code", version.name, f"{owner}.{number}", f"no length instead of {field['length']}")
                field["length"] = 0


def structures(version, notes):
    """Choices that are none, and choices that have lost a member."""
    for row in rows():
        name = row["place"].removeprefix("structure ")
        if row["place"] == name or version.name not in versions(row["versions"]) or name not in version.structures:
            continue
        change = sequence if row["what"] == "sequence" else with_any
        nodes = change(version.structures[name])
        assert nodes != version.structures[name], (version.name, row)
        version.structures[name] = nodes
        notes.add("decided", version.name, row["place"], f"{row['what']}: {row['reason']}")


def sequence(nodes):
    return [("G" if kind == "C" else kind, name, low, high, sequence(children)) for kind, name, low, high, children in nodes]


def with_any(nodes):
    out = []
    for kind, name, low, high, children in nodes:
        children = with_any(children)
        if kind == "C" and not any(child[0] == "A" for child in children):
            children.append(("A", "", 1, 1, []))
        out.append((kind, name, low, high, children))
    return out


def tables(all_versions, notes):
    """Tables, when their codes are clean."""
    for row in rows():
        if not row["place"].startswith("table"):
            continue
        number = int(row["place"].removeprefix("table "))
        for version in all_versions:
            if version.name not in versions(row["versions"]) or number not in version.tables:
                continue
            if row["what"] == "open":
                version.open.add(number)
            else:
                named = {t for t in version.types if t in PRIMITIVES or len(t) <= 3}
                version.tables[number] = sorted(set(version.tables[number]) | named - NO_VALUE_TYPES)
            notes.add("decided", version.name, row["place"], f"{row['what']}: {row['reason']}")


def spaced(all_versions, notes):
    """A code that a neighbouring version writes without the blanks around its marks."""
    for version, *near in zip(all_versions, [None, *all_versions], [*all_versions[1:], None]):
        for number, codes in version.tables.items():
            plain = {c.replace(" ", ""): c for v in near if v for c in v.tables.get(number, ())}
            for code in [c for c in codes if " - " in c or ", " in c]:
                other = plain.get(code.replace(" ", ""))
                if other and other != code and other not in codes:
                    codes[codes.index(code)] = other
                    notes.add("code-spaced", version.name, f"table {number:04} {code!a}", other)
            codes.sort()
