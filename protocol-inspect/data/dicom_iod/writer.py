"""Packs the world into one blob; the format is told at the head of src/dicom/iod/tables.rs."""
import ast
import collections
import struct
import zlib

import conditions
from merge import ITSELF, NONE

MAGIC = b"IODT"
FORMAT = 2
TYPES = {"1": 1, "1C": 2, "2": 3, "2C": 4, "3": 5}
USAGES = {"M": 1, "C": 2, "U": 3}
OTHERWISE = {"": 0, conditions.MAY: 0, conditions.IMPLICIT: 1, conditions.FORBIDDEN: 2}
SECTIONS = [("sop classes", 4), ("iods", 8), ("modules", 8), ("overrides", 6), ("levels", 4), ("rows", 8), ("rules", 8),
            ("conditions", 16), ("codes", 2), ("tests", 6), ("watches", 4), ("atoms", 4), ("values", 4), ("parts", 6),
            ("terms", 2), ("strings", 4), ("bytes", 1), ("groups", 8)]
AND, OR, NOT = 0x8001, 0x8002, 0x8003
PRESENT, FILLED, FIRST_ATOM = 0, 1, 2
EQUAL, MORE = 1, 2


class Pool:
    """Numbered records, each stored once; from 1 on, 0 is none."""

    def __init__(self):
        self.known = {}

    def number(self, record):
        return self.known.setdefault(record, len(self.known) + 1)

    def records(self):
        return list(self.known)


class Runs:
    """Numbered runs of records in a section of their own."""

    def __init__(self):
        self.known, self.spans, self.records = {}, [], []

    def number(self, run):
        run = tuple(run)
        if run not in self.known:
            self.spans.append(struct.pack("<HH", len(self.records), len(run)))
            self.records.extend(run)
            self.known[run] = len(self.spans)
        return self.known[run]


class Writer:
    def __init__(self, world):
        self.world = world
        self.strings = Pool()
        self.rules, self.tests = Pool(), Pool()
        self.conditions, self.watches, self.values, self.parts = Runs(), Runs(), Runs(), []
        self.atoms = self.collect()
        rows = [row for rows in world.levels for row in rows]
        for row in filter(asks, rows):
            self.rule(row)
        self.duties = len(self.rules.known)

    def collect(self):
        """Which values of which attributes conditions ask for: {tag: [(component, how, text)]}."""
        atoms = collections.defaultdict(dict)
        spoken = {row.condition for rows in self.world.levels for row in rows}
        spoken |= {condition for used in self.world.iods.values() for _, _, condition, _ in used}

        def walk(node):
            if node[0] in ("and", "or"):
                for part in node[1]:
                    walk(part)
            elif node[0] == "not":
                walk(node[1])
            elif node[0] == "value":
                atoms[node[1]].setdefault((node[2], EQUAL, node[3]))
            elif node[0] == "more":
                atoms[node[1]].setdefault((0, MORE, str(node[2])))

        for condition in sorted(filter(None, spoken)):
            walk(ast.literal_eval(condition))
        assert all(len(found) <= 62 for found in atoms.values())
        return {tag: list(found) for tag, found in atoms.items()}

    def condition(self, text):
        if not text:
            return 0
        out = []

        def walk(node):
            if node[0] in ("and", "or"):
                walk(node[1][0])
                for part in node[1][1:]:
                    walk(part)
                    out.append(AND if node[0] == "and" else OR)
            elif node[0] == "not":
                walk(node[1])
                out.append(NOT)
            else:
                out.append(self.test(node))

        walk(ast.literal_eval(text))
        return self.conditions.number(struct.pack("<H", code) for code in out)

    def test(self, node):
        kind, tag = node[0], node[1]
        if kind in ("present", "filled"):
            bit = PRESENT if kind == "present" else FILLED
        else:
            key = (node[2], EQUAL, node[3]) if kind == "value" else (0, MORE, str(node[2]))
            bit = FIRST_ATOM + self.atoms[tag].index(key)
        return self.tests.number(struct.pack("<IBx", tag, bit))

    def simple(self):
        """Spans of conditions; of those that only ask for any of some bits of one attribute, its tag and the bits."""
        tests = [struct.unpack("<IBx", test) for test in self.tests.records()]
        out = []
        for run, span in zip(self.conditions.known, self.conditions.spans):
            codes = [struct.unpack("<H", code)[0] for code in run]
            asked = [tests[code - 1] for code in codes if code < AND]
            tag, mask = 0, 0
            if len({tag for tag, _ in asked}) == 1 and not {AND, NOT} & set(codes):
                tag, mask = asked[0][0], sum({1 << bit for _, bit in asked})
            out.append(span + struct.pack("<IQ", tag, mask))
        return out

    def watch(self, tag):
        if tag not in self.atoms:
            return 0
        records = (struct.pack("<BBH", component, how, self.strings.number(text)) for component, how, text in self.atoms[tag])
        return self.watches.number(records)

    def enumerated(self, values):
        if not values:
            return 0
        parts = []
        for component, terms in values:
            key = tuple(self.strings.number(term) for term in terms)
            parts.append((component, key))
        return self.values.number(parts)

    def rule(self, row):
        kind = (TYPES[row.type], OTHERWISE[row.otherwise])
        return self.rules.number(struct.pack("<BBHHH", *kind, self.condition(row.condition), self.enumerated(row.values), self.watch(row.tag)))


def asks(row):
    """Whether the absence of the attribute can be wrong."""
    return row.type in ("1", "2") or row.type != "3" and row.condition


def write(world):
    w = Writer(world)
    out = {name: [] for name, _ in SECTIONS}
    for number, rows in enumerate(world.levels):
        out["levels"].append(struct.pack("<HH", len(out["rows"]), len(rows)))
        for row in rows:
            child = {ITSELF: number + 1, NONE: 0}.get(row.child, row.child + 1)
            out["rows"].append(struct.pack("<IHH", row.tag, w.rule(row), child))
    numbers = {}
    for name, used in sorted(world.iods.items()):
        numbers[name] = len(out["iods"])
        overrides = sorted(world.overrides[name].items())
        out["iods"].append(struct.pack("<HHHH", len(out["modules"]), len(used), len(out["overrides"]), len(overrides)))
        for module, usage, condition, otherwise in used:
            flags = USAGES[usage] | OTHERWISE[otherwise] << 4
            record = (world.modules[module] + 1, w.condition(condition), w.strings.number(module), flags)
            out["modules"].append(struct.pack("<HHHH", *record))
        out["overrides"] += [struct.pack("<IH", tag, child + 1) for tag, child in overrides]
        out["groups"] += [struct.pack("<HHI", numbers[name], TYPES[kind], tag) for tag, kind in sorted(world.groups[name])]
    for uid, iod in sorted(world.sop_classes.items()):
        out["sop classes"].append(struct.pack("<HH", w.strings.number(uid), numbers[iod]))
    terms = Runs()
    for component, key in w.values.records:
        terms.number(struct.pack("<H", term) for term in key)
        run = terms.spans[terms.known[tuple(struct.pack("<H", term) for term in key)] - 1]
        out["parts"].append(struct.pack("<BB", component, 0) + run)
    out["rules"], out["tests"] = w.rules.records(), w.tests.records()
    out["conditions"], out["codes"] = w.simple(), w.conditions.records
    out["watches"], out["atoms"] = w.watches.spans, w.watches.records
    out["values"], out["terms"] = w.values.spans, terms.records
    place = 0
    for text in w.strings.records():
        out["strings"].append(struct.pack("<I", place))
        out["bytes"].append(text.encode())
        place += len(text)
    out["strings"].append(struct.pack("<I", place))
    counts = {name: len(out[name]) for name, _ in SECTIONS if name != "bytes"}
    return pack(out, w.duties), counts


def pack(out, duties):
    head = struct.pack("<HHHxx", FORMAT, len(SECTIONS), duties)
    place = 4 + 4 + len(head) + 8 * len(SECTIONS)
    table, body = b"", b""
    for name, size in SECTIONS:
        data = b"".join(out[name])
        assert len(data) % size == 0, name
        padding = -len(data) % 4
        table += struct.pack("<II", place + len(body), len(data) // size)
        body += data + bytes(padding)
    rest = head + table + body
    return MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest
