"""Makes one version out of what three sources say of it, and notes every place where they differ.

hl7apy leads (for 2.7.1, which it lacks, hl7types does); a field is required only where every source says so,
because a false "required" refuses good messages and a missed one does not.
"""
import collections
import functools
import re

import decisions
import sources
from writer import PRIMITIVES

OPAQUE = {"varies", "CM", "NUL", "WD"}
ALIASES = {"Varies": "varies", "VARIES": "varies", "VARIABLE": "varies", "varies": "varies", "Any": "varies",
           "wd": "WD", "None": "NUL", None: "NUL", "-": "NUL", "*": "varies", "CE_NO_TABLE": "CE"}
CORRECTED = {(v, place): "C" for v in ("2.8.1", "2.8.2") for place in ("OBX.2", "OBX.4")}
# Before 2.3 ID stood for user-defined tables as well, so it says nothing of who defines the table.
ID_MEANS_HL7 = {v for v in sources.VERSIONS if v not in ("2.1", "2.2")}
RANGE = re.compile(r"([A-Z]?)(\d+) ?(?:\.\.\.|_) ?\1(\d+)")
LOOSE = re.compile(r"\.\.\.|…|<|>| _|and higher|etc|micriobo|Timings|[^\x20-\x7e]", re.I)


@functools.cache
def hl7apy(version):
    return sources.Hl7apy(version)


class Version:
    """What the writer needs of one version."""

    def __init__(self, name):
        self.name = name
        self.structures, self.events, self.segments, self.types, self.tables = {}, {}, {}, {}, {}
        self.kinds, self.open = {}, set()
        self.checked = collections.Counter()


class Notes:
    """Where the sources differ or are defective: version, place, class, what was taken."""

    def __init__(self):
        self.rows = []

    def add(self, kind, version, place, taken):
        self.rows.append((kind, version, place, taken))

    def table(self):
        lines = ["class\tversion\tplace\ttaken"]
        lines += ["\t".join(map(str, row)) for row in sorted(set(self.rows))]
        return "\n".join(lines) + "\n"


def version(name, site, dictionary, notes):
    out = Version(name)
    types = sources.Hl7types(site, name)
    lead = sources.Hl7apy("2.7" if name == "2.7.1" else name)
    other = dictionary.get(name, {"segments": {}, "types": {}, "messages": {}})
    if name == "2.7.1":
        near = [lead.messages, hl7apy("2.8").messages, hl7apy("2.6").messages]
        lead.messages = {n: restore(n, nodes, near, notes) for n, nodes in types.messages.items()}
        lead.segments = {n: fields or lead.segments.get(n, {}) for n, fields in types.segments.items()}
        lead.types = {n: fields for n, fields in types.types.items() if fields}
        lead.empty = [n for n, fields in lead.segments.items() if not fields]
        lead.malformed = []
        notes.add("absent-version", name, "hl7apy", "structures, segments and types of hl7types; choices and codes of 2.7")
    defects(name, lead, notes)
    any_segments(name, lead, types, notes)
    out.structures = {n.upper(): nodes for n, nodes in lead.messages.items()}
    for structure, nodes in list(out.structures.items()):
        if sum(node[1] == "MSH" for node in nodes) > 1:
            del out.structures[structure]
            notes.add("two-messages", name, structure, "not carried")
    decisions.structures(out, notes)
    compare_structures(out, types, other, notes)
    events(out, types, other, notes)
    for kind, mine in (("segments", lead.segments), ("types", lead.types)):
        theirs = getattr(hl7apy("2.7") if name == "2.7.1" else types, kind)
        target = getattr(out, kind)
        for owner, fields in sorted(mine.items()):
            second, third = theirs.get(owner, {}), other[kind].get(owner, {})
            if kind == "types" and name in ("2.5", "2.5.1"):
                fields, second = settled(owner, fields, second, third, out, notes)
            target[owner] = layout(out, owner, fields, second, third, notes)
    for owner in sorted(referenced(out.structures) - set(out.segments)):
        borrowed = types.segments.get(owner, {})
        out.segments[owner] = layout(out, owner, borrowed, {}, other["segments"].get(owner, {}), notes)
        notes.add("missing-segment", name, owner, "hl7types" if borrowed else "no fields")
    complete_types(out, types, other, notes)
    decisions.fields(out, notes)
    out.codes = lead.tables
    return out


def defects(name, lead, notes):
    for owner in lead.malformed:
        notes.add("malformed", name, owner, "the fields without their wrapper")
    for owner in lead.empty:
        notes.add("empty-segment", name, owner, "a segment whose fields are not known")


def restore(name, nodes, near, notes):
    """hl7types keeps one of several segments of the same name side by side and knows no choice: a neighbour tells."""
    for messages in near:
        if name in messages and once(messages[name]) == once(nodes):
            return messages[name]
    notes.add("structure-alone", "2.7.1", name, "hl7types")
    known = shapes(near[0].get(name, [])) | shapes(near[1].get(name, []))
    return choose(nodes, known)


def any_segments(name, lead, types, notes):
    """Where only hl7apy lacks the place for any segment of a master file, it is put back."""
    for message, nodes in lead.messages.items():
        theirs = types.messages.get(message)
        if theirs and "*" in loose(theirs) and "*" not in loose(nodes) and plain(nodes) == plain(without_any(theirs)):
            lead.messages[message] = theirs
            notes.add("structure-any", name, message, "hl7types")


def without_any(nodes):
    return [(k, n, low, high, without_any(c)) for k, n, low, high, c in nodes if k != "A"]


def shapes(nodes):
    """Which groups are choices, by name."""
    out = {}
    for kind, short, _, _, children in nodes:
        if kind in "GC":
            out[short] = kind
            out.update(shapes(children))
    return out


def choose(nodes, known):
    out = []
    for kind, name, low, high, children in nodes:
        kind = known.get(name, kind) if kind == "G" else kind
        out.append((kind, name, low, high, choose(children, known)))
    return out


def once(nodes, inside_choice=False):
    """For comparison with hl7types: members of a choice are optional, a second sibling of the same name is not there."""
    out, seen = [], set()
    for kind, name, low, high, children in nodes:
        if (kind in "GC", name) in seen:
            continue
        seen.add((kind in "GC", name))
        out.append((name if kind == "S" else "*" if kind == "A" else once(children, kind == "C"),
                    0 if inside_choice else low, high))
    return tuple(out)


def plain(nodes):
    """A structure without group names, for comparison."""
    out = []
    for kind, name, low, high, children in nodes:
        if kind in "GC":
            out.append((low, high, plain(children)))
        else:
            out.append((name if kind == "S" else "*", low, high))
    return tuple(out)


def has_choice(nodes):
    return any(kind in "CA" or has_choice(children) for kind, _, _, _, children in nodes)


def loose(nodes):
    """The same without cardinalities and with choices flattened into their members."""
    out = []
    for kind, name, _, _, children in nodes:
        if kind in "GC":
            out += loose(children)
        else:
            out += [name if kind == "S" else "*"]
    return tuple(out)


def compare_structures(out, types, other, notes):
    for name, nodes in sorted(out.structures.items()):
        for source, theirs in (("hl7types", types.messages.get(name)), ("hl7v2-dictionary", other["messages"].get(name))):
            if theirs is None:
                continue
            if plain(nodes) == plain(theirs) or source == "hl7types" and once(nodes) == once(theirs):
                out.checked[source + " same"] += 1
                continue
            out.checked[source + " differs"] += 1
            what = "choice" if has_choice(nodes) else "cardinality or nesting" if loose(nodes) == loose(theirs) else "segments"
            notes.add("structure-" + what.split()[0], out.name, f"{name} ({source})", "hl7apy")


def events(out, types, other, notes):
    """`TYPE_EVENT` or `TYPE` to the name of a structure."""
    for name in out.structures:
        out.events[name] = name
    for event, structure in types.events.items():
        event, structure = event.upper(), structure.upper()
        if event in out.structures and event != structure:
            same = structure in out.structures and plain(out.structures[event]) == plain(out.structures[structure])
            notes.add("event-twice", out.name, event, structure if same else event)
            out.events[event] = structure if same else event
        elif event in out.events:
            continue
        elif structure in out.structures:
            out.events[event] = structure
        elif structure in types.messages:
            notes.add("event-without-structure", out.name, event, "not carried")
    flat = {}
    for name, nodes in out.structures.items():
        flat.setdefault((name[:3], plain(nodes)), name)
    for event, nodes in other["messages"].items():
        structure = flat.get((event[:3], plain(nodes)))
        if event.upper() not in out.events and re.fullmatch(r"[A-Z]{3}_[A-Z0-9]{3}", event) and structure:
            out.events[event.upper()] = structure
            notes.add("event-from-dictionary", out.name, event, structure)
    bare = collections.defaultdict(set)
    for event, structure in out.events.items():
        bare[event[:3]].add(structure)
    for kind, structures in bare.items():
        if kind not in out.events and len(structures) == 1:
            out.events[kind] = next(iter(structures))


def layout(out, owner, mine, second, third, notes):
    third = {int(n): f for n, f in third.items()}
    if not mine:
        return []
    fields = []
    for number in range(1, max(mine) + 1):
        field = mine.get(number)
        if field is None:
            fields.append(dict(type="WD", usage="W", repeats=1, length=0, table=0))
            continue
        others = [f for f in (second.get(number), third.get(number)) if f]
        place = f"{owner}.{number}"
        fields.append(dict(
            type=kind(field, others, out, place, notes),
            usage=usage(field, second.get(number), third.get(number), out, place, notes),
            repeats=repeats(field, others, out, place, notes),
            length=(third.get(number) or {}).get("length") or 0,
            table=table(field, others, out, place, notes)))
    return fields


def settled(owner, fields, second, third, out, notes):
    """In 2.5 the standard began to say which components are required; only the dictionary has it, and 2.6 confirms it."""
    later = hl7apy("2.6").types.get(owner, {})
    fields, second = dict(fields), dict(second)
    for number, field in fields.items():
        said = (third.get(str(number)) or {}).get("usage")
        if said == "R" and later.get(number, {}).get("usage") == "R":
            fields[number] = field | {"usage": "R"}
            second.pop(number, None)
            notes.add("required-later", out.name, f"{owner}.{number}", "required")
    return fields, second


def kind(field, others, out, place, notes):
    taken = ALIASES.get(field["type"], field["type"])
    votes = {ALIASES.get(f["type"], f["type"]) for f in others}
    if votes and taken not in votes and field["usage"] != "W":
        notes.add("type", out.name, place, f"{taken}, not {'/'.join(sorted(votes))}")
    return taken


def usage(field, second, third, out, place, notes):
    letters = [f["usage"] for f in (field, second, third) if f and f["usage"]]
    if field["usage"] in ("W", "X"):
        return "X" if "X" in letters else "W"
    if "X" in letters:
        notes.add("not-used", out.name, place, "/".join(letters))
        letters = [letter for letter in letters if letter != "X"]
    if (out.name, place) in CORRECTED:
        notes.add("corrected", out.name, place, CORRECTED[out.name, place])
        return CORRECTED[out.name, place]
    if set(letters) == {"R"}:
        return "R"
    if "R" in letters:
        notes.add("required", out.name, place, "not required: " + "/".join(letters))
    return next((letter for letter in ("B", "C") if letter in letters), "O")


def repeats(field, others, out, place, notes):
    taken = field["repeats"]
    said = {f["repeats"] for f in others if f["repeats"] is not None}
    if field["usage"] == "W":
        return 1
    finite = [n for n in said if n > 1]
    if taken == sources.UNBOUNDED and finite and max(finite) < 256:
        notes.add("repeats", out.name, place, f"{max(finite)} instead of no limit")
        return max(finite)
    if taken == 1 and sources.UNBOUNDED in said:
        notes.add("repeats", out.name, place, "no limit instead of 1")
        return sources.UNBOUNDED
    if taken == 1 and finite:
        notes.add("repeats", out.name, place, f"{max(finite)} instead of 1")
        return max(finite)
    return taken


def table(field, others, out, place, notes):
    taken = field["table"]
    votes = [f["table"] for f in others if f["table"]]
    if taken and votes and taken not in votes:
        if len(votes) == 2 and votes[0] == votes[1]:
            notes.add("table", out.name, place, f"{votes[0]}, not {taken}")
            return votes[0]
        notes.add("table", out.name, place, f"{taken}, not {'/'.join(map(str, votes))}")
    elif not taken and len(votes) == 2 and votes[0] == votes[1]:
        notes.add("table", out.name, place, f"{votes[0]} where hl7apy has none")
        return votes[0]
    return taken or 0


def referenced(structures):
    def walk(nodes):
        for kind, name, _, _, children in nodes:
            if kind == "S":
                yield name
            yield from walk(children)
    return {name for nodes in structures.values() for name in walk(nodes)}


def complete_types(out, types, other, notes):
    """Every type that is named gets an entry; primitives and opaque types have no components."""
    todo = collections.deque(f["type"] for fields in (*out.segments.values(), *out.types.values()) for f in fields)
    while todo:
        name = todo.popleft()
        if name in out.types:
            continue
        if name in PRIMITIVES or name in OPAQUE:
            out.types[name] = []
            continue
        borrowed = types.types.get(name) or {int(n): f for n, f in other["types"].get(name, {}).items()}
        notes.add("missing-type", out.name, name, "components of another source" if borrowed else "opaque")
        out.types[name] = layout(out, name, borrowed, {}, {}, notes)
        todo.extend(f["type"] for f in out.types[name])


def settle_tables(versions, notes):
    """Cleans the codes, and says of each table who defines it: ID and CNE fields draw on HL7's own, IS on the user's."""
    overall = collections.defaultdict(collections.Counter)
    for v in versions:
        for fields in (*v.segments.values(), *v.types.values()):
            for f in fields:
                if not f["table"]:
                    continue
                counts = v.kinds.setdefault(f["table"], collections.Counter())
                if v.name in ID_MEANS_HL7 and f["type"] in ("ID", "CNE", "IS"):
                    counts["user" if f["type"] == "IS" else "hl7"] += 1
        for number, counts in v.kinds.items():
            overall[number].update(counts)
    longest = {c for v in versions for codes in v.codes.values() for c in codes}
    for v in versions:
        for number in sorted(set(v.kinds) | set(v.codes)):
            counts = v.kinds.get(number) or overall[number]
            v.kinds[number] = "hl7" if counts["hl7"] else "user"
            v.tables[number] = codes(v, number, longest, notes)
            if counts["hl7"] and not v.tables[number]:
                notes.add("no-codes", v.name, f"table {number:04}", "any code passes")
    decisions.spaced(versions, notes)
    decisions.tables(versions, notes)


def codes(v, number, known, notes):
    out = set()
    for raw in v.codes.get(number, ()):
        code = raw.replace("\xa0", " ").strip()
        span = RANGE.fullmatch(code)
        place = f"table {number:04} {raw.strip()!a}"
        if span:
            letter, low, high = span.group(1), int(span.group(2)), int(span.group(3))
            out.update(f"{letter}{n}" for n in range(low, high + 1))
            notes.add("code-range", v.name, place, f"{low} to {high}")
        elif not code or code.lower() == "not present":
            continue
        elif code == "* (star)":
            out.add("*")
        elif v.name in ("2.3.1", "2.4") and len(code) == 12 and (full := longer(code, known)):
            out.update(full)
            notes.add("code-cut", v.name, place, "/".join(sorted(full)))
        elif LOOSE.search(code):
            v.open.add(number)
            notes.add("code-open", v.name, place, "left out; the table counts as open")
        else:
            out.add(code)
    return sorted(out)


def longer(code, known):
    return {c for c in known if len(c) > 12 and c.startswith(code) and not LOOSE.search(c)}
