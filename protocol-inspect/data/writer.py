"""Packs the versions into one blob; the format is told at the head of src/hl7/grammar/mod.rs."""
import struct
import zlib

MAGIC = b"HL7G"
FORMAT = 1
USAGE = {"R": 1, "O": 2, "C": 3, "B": 4, "W": 5, "X": 6}
PRIMITIVES = ["ST", "TX", "FT", "NM", "SI", "ID", "IS", "DT", "TM", "DTM", "GTS", "SNM", "TN", "TS"]
KIND = {"S": 1, "A": 2, "G": 3, "C": 4}
# The sections in the order in which they lie in the blob, and the size of one record.
SECTIONS = [("versions", 28), ("structures", 12), ("events", 12), ("segments", 6), ("types", 6), ("tables", 6),
            ("nodes", 12), ("layouts", 2), ("fields", 12), ("spans", 6), ("codes", 2), ("strings", 4), ("bytes", 1)]


class Pool:
    """Deduplicated runs of records; a run is named by where it starts and how long it is."""

    def __init__(self):
        self.records, self.known = [], {}

    def run(self, records):
        key = tuple(records)
        if key not in self.known:
            self.known[key] = len(self.records)
            self.records.extend(key)
        return self.known[key], len(key)


class Spans:
    """Numbers runs of a pool, so that an index needs two bytes to name one."""

    def __init__(self, pool):
        self.pool, self.records, self.known = pool, [], {}

    def number(self, records):
        run = self.pool.run(records)
        if run not in self.known:
            self.known[run] = len(self.records)
            self.records.append(struct.pack("<IH", *run))
        return self.known[run]


def write(versions):
    """The blob, and what it holds of each version."""
    strings = intern(versions)
    fields, nodes = Pool(), Pool()
    layouts, codes = Pool(), Pool()
    spans = Spans(layouts)
    # One numbering for both pools: layouts first, then code lists.
    out = {name: [] for name, _ in SECTIONS}
    counts, index = {}, {}
    for v in versions:
        for owner, body in (*v.segments.items(), *v.types.items()):
            index[v.name, owner, owner in v.segments and body is v.segments[owner]] = spans.number([field(f, fields, strings) for f in body])
    lists = Spans(codes)
    first_list = len(spans.records)
    for v in versions:
        before = {name: len(out[name]) for name in ("structures", "events", "segments", "types", "tables")}
        order = sorted(v.structures)
        assert all(len(name) <= 8 for name in v.events), v.name
        for name in order:
            start, count = run(v.structures[name], nodes, strings)
            out["structures"].append(struct.pack("<8sHH", name.encode(), start, count))
        for event in sorted(v.events):
            out["events"].append(struct.pack("<8sHxx", event.encode(), order.index(v.events[event])))
        for name in sorted(v.segments):
            out["segments"].append(struct.pack("<3sxH", name.encode(), index[v.name, name, True]))
        for name in sorted(v.types, key=lambda n: strings[n]):
            out["types"].append(struct.pack("<HHH", strings[name], index[v.name, name, False], type_kind(name, v.types[name])))
        for number in sorted(v.tables):
            flags = (v.kinds[number] == "hl7") | (number in v.open) << 1
            listed = first_list + lists.number([struct.pack("<H", strings[c]) for c in v.tables[number]])
            out["tables"].append(struct.pack("<HHH", number, listed, flags))
        ranges = [(before[n], len(out[n]) - before[n]) for n in ("structures", "events", "segments", "types", "tables")]
        out["versions"].append(struct.pack("<8s10H", v.name.encode(), *(n for r in ranges for n in r)))
        counts[v.name] = count_all(v)
    out["nodes"], out["fields"] = nodes.records, fields.records
    out["layouts"], out["codes"] = layouts.records, codes.records
    out["spans"] = spans.records + lists.records
    pool = b""
    for text in strings:
        out["strings"].append(struct.pack("<I", len(pool)))
        pool += text.encode()
    out["strings"].append(struct.pack("<I", len(pool)))
    out["bytes"] = [pool]
    return pack(out, first_list), counts


def pack(out, first_list):
    body, head = b"", b""
    start = 16 + 8 * len(SECTIONS)
    for name, size in SECTIONS:
        data = b"".join(out[name])
        assert len(data) % size == 0, name
        head += struct.pack("<II", start + len(body), len(data) // size)
        body += data + bytes(-len(data) % 4)
    checked = struct.pack("<HH", FORMAT, len(SECTIONS)) + struct.pack("<I", first_list) + head + body
    return MAGIC + struct.pack("<I", zlib.crc32(checked)) + checked


def intern(versions):
    """Sorted by bytes, so that order of number is order of text."""
    texts = {""}
    def walk(nodes):
        for kind, name, _, _, children in nodes:
            if kind in "GC":
                texts.add(name)
            walk(children)
    for v in versions:
        for nodes in v.structures.values():
            walk(nodes)
        texts.update(v.types)
        for codes in v.tables.values():
            texts.update(codes)
    assert len(texts) < 65536
    return {text: number for number, text in enumerate(sorted(texts, key=lambda t: t.encode()))}


def field(f, fields, strings):
    record = struct.pack("<HHIBBxx", strings[f["type"]], f["table"], f["length"], USAGE[f["usage"]], f["repeats"])
    return struct.pack("<H", single(fields, record))


def type_kind(name, components):
    """0 composite, 1 opaque, from 16 on the primitives in the order of the enum Primitive."""
    if components:
        return 0
    return 16 + PRIMITIVES.index(name) if name in PRIMITIVES else 1


def single(pool, record):
    return pool.run([record])[0]


def run(children, nodes, strings):
    """Children before parents: a group points to a run that exists."""
    records = []
    for kind, name, low, high, below in children:
        if kind in "GC":
            start, count = run(below, nodes, strings)
            target, label = struct.pack("<HH", start, count), strings[name]
        else:
            target, label = struct.pack("4s", name.encode()), 0
        records.append(struct.pack("<BBB", KIND[kind], low, high) + b"\0" + target + struct.pack("<HH", label, 0))
    return nodes.run(records)


def count_all(v):
    return dict(structures=len(v.structures), events=len(v.events), segments=len(v.segments),
                fields=sum(map(len, v.segments.values())), types=len(v.types), components=sum(map(len, v.types.values())),
                tables=len(v.tables), codes=sum(map(len, v.tables.values())))
