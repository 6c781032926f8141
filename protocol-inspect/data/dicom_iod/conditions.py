"""Reads the condition of a conditional attribute or module into our own language.

A condition is ("and"|"or", (condition, …)), ("not", condition), ("present", tag), ("filled", tag),
("value", tag, component, value) or ("more", tag, number). Only sentences that fit the grammar below from the first word to the last are read;
all others are None, which is told as "unknown" and never refused.
"""
import re

import sources

VALUE = r'"?[A-Z0-9][A-Z0-9_.]*(?: [A-Z0-9][A-Z0-9_]*)*"?'
VALUES = rf"{VALUE}(?:(?:,? or |, ){VALUE})*"
MENTION = r"@[0-9a-f]{8}"
LIST = rf"(?:{MENTION})(?:(?:,? and |,? or |,? nor |, ){MENTION})*"
EQUALS = (r"(?:is present and the value is|is present and has a value of|is present and equals|is present with a value of|has a value of|has the value(?: of)?|"
          r"is equal to|is EQUAL to|is set to|value is|value equals|equals|is|=)")
DIFFERS = (r"(?:is other than|equals other than|is not equal to|does not equal|value is not|has a value other than|is not)")
GREATER = r"(?:is present and has a value greater than|has a value greater than|is greater than|value is greater than)"
NOT_ZERO = (r"(?:is present and has a non-zero value|has a non-zero value|is non-zero|is not zero|is present and is non-zero)")
ATOMS = [
    (rf"({MENTION}),? Value (\d) (?:is|equals|is equal to|is EQUAL to|contains the value|has the value) ({VALUES})", "component"),
    (rf"({MENTION}) is absent or not ({VALUE})", "absent or differs"),
    (rf"({MENTION}) {GREATER} (\d+)", "greater"),
    (rf"({MENTION}) {NOT_ZERO}", "nonzero"),
    (rf"(?:both |either |neither )?({LIST}) (?:is|are) (?:both )?(not present|absent|present)(?: and has a value(?! of))?(?! (?:and the value|and equals|and has a|with a))", "presence"),
    (rf"({MENTION}) has a value(?! (?:of|other|greater))", "filled"),
    (rf"({MENTION}) {DIFFERS} ({VALUES})", "differs"),
    (rf"({MENTION}) {EQUALS} ({VALUES})", "equals"),
]
MAY, FORBIDDEN, IMPLICIT = "may", "forbidden", "implicit"


def read(text, names):
    """(condition or None, what holds otherwise) of a description."""
    starts = [m.end() for m in re.finditer(r"(?:Required|Shall be present|shall be present) if ", text)]
    if len(starts) != 1:
        return None, MAY
    rest = text[starts[0]:]
    sentence, _, after = rest.partition(". ")
    otherwise = MAY if re.search(r"\bmay (?:also )?be (?:present|included)|otherwise|shall not be|may be used", rest, re.I) else IMPLICIT
    if re.search(r"shall not be present otherwise|otherwise not used", rest, re.I):
        otherwise = FORBIDDEN
    sentence = re.split(r"[;,] (?:may|shall) ", sentence)[0].strip().rstrip(".")
    return parse(mentions(sentence, names)), otherwise


def mentions(text, names):
    """Names with tags, and names alone at the start of a clause, become @ggggeeee."""
    text = text.replace("“", '"').replace("”", '"').replace("''", '"')
    while found := sources.TAG.search(text):
        tag = sources.number(found.group(0))
        before, after = text[:found.start()].rstrip(), text[found.end():]
        name = names.get(tag, "")
        if name and before.lower().endswith(name.lower()):
            before = before[:len(before) - len(name)]
        elif not re.search(r"(?:^|\W)(?:Attribute)?$", before):
            return ""
        before = re.sub(r"(?:the )?(?:value of )?(?:the )?(?:Attribute )?$", "", before, flags=re.I)
        text = f"{before} @{tag:08x} {after}"
    for name, tag in BARE.items():
        text = re.sub(rf"^(?:the )?(?:value of )?{name}(?= (?:value|is|equals|has|Value|=))", f"@{tag:08x}", text, flags=re.I)
    text = re.sub(r" \((?:Legacy Converted|[A-Z][A-Za-z -]+ Storage)\)", "", text)
    text = re.sub(r" (?:of this frame|at the image level|in the [A-Z][A-Za-z ]+ Module)(?= )", "", text)
    text = re.sub(r"^(?:either|the) ", "", text.strip())
    text = re.sub(r"(@[0-9a-f]{8}) ,", r"\1,", text)
    return re.sub(r"\s+", " ", text).strip()


BARE = {"SOP Class UID": 0x00080016, "Modality": 0x00080060, "Observer Type": 0x0040A084, "Number of Frames": 0x00280008,
        "Presentation Intent Type": 0x00080068}


def parse(text):
    """The whole of a sentence, or None."""
    parts, joins = [], []
    while True:
        for pattern, kind in ATOMS:
            if found := re.match(pattern, text):
                parts.append(atom(kind, found))
                text = text[found.end():]
                break
        else:
            return None
        if not text.strip():
            return tree(parts, joins)
        join = re.match(r"(, |,? )(and|or) (?:if |when )?(?:the )?", text)
        if not join:
            return None
        joins.append(("," if join.group(1).startswith(",") else "") + join.group(2))
        text = text[join.end():]


def tree(parts, joins):
    """And before or; where both occur, only a comma makes clear what belongs together."""
    kinds = {join.lstrip(",") for join in joins}
    if None in parts or len(kinds) == 2 and "or" in joins:
        return None
    groups = [[parts[0]]]
    for part, join in zip(parts[1:], joins):
        if join.endswith("or"):
            groups.append([part])
        else:
            groups[-1].append(part)
    whole = [group[0] if len(group) == 1 else ("and", tuple(group)) for group in groups]
    return whole[0] if len(whole) == 1 else ("or", tuple(whole))


def atom(kind, found):
    if kind == "presence":
        return presence(found.group(0), found.group(1), found.group(2))
    tag = int(found.group(1)[1:], 16)
    if kind == "greater":
        return ("more", tag, int(found.group(2)))
    if kind == "nonzero":
        return ("more", tag, 0)
    if kind == "filled":
        return ("filled", tag)
    if kind == "absent or differs":
        return ("not", any_of(tag, 0, found.group(2)))
    if kind == "component":
        return any_of(tag, int(found.group(2)), found.group(3))
    equal = any_of(tag, 0, found.group(2))
    if kind == "equals":
        return equal
    return ("and", (("filled", tag), ("not", equal)))


def any_of(tag, component, values):
    values = [value.strip().strip('"').strip() for value in re.split(r",? or |, ", values)]
    parts = tuple(("value", tag, component, value) for value in values)
    return parts[0] if len(parts) == 1 else ("or", parts)


def presence(whole, tags, how):
    parts = [("filled" if whole.endswith("has a value") else "present", int(tag, 16)) for tag in re.findall(r"@([0-9a-f]{8})", tags)]
    if whole.startswith("neither"):
        return ("not", ("or", tuple(parts)))
    if " or " in tags and " and " in tags:
        return None
    join = "or" if " or " in tags else "and"
    if how != "present":
        parts = [("not", part) for part in parts]
    return parts[0] if len(parts) == 1 else (join, tuple(parts))
