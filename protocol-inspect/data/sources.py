"""Reads each source into plain values; decides nothing.

A structure is a list of nodes `(kind, name, min, max, children)` with kind S (segment), A (any segment), G or C (choice).
A layout is a list of dicts with the keys type, usage, repeats, length, table; `None` where the source does not say.
"""
import ast
import functools
import importlib
import re

VERSIONS = ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2"]
UNBOUNDED = 0

DICTIONARY_SCRIPT = """
import { dictionaries } from 'hl7v2-dictionary';
import fs from 'fs';
const layout = (fields) => Object.fromEntries(Object.entries(fields || {}).map(([n, f]) => [n, {
  type: f.type ?? null, usage: f.opt ?? null, repeats: f.rep === 'infinite' ? 0 : (f.rep ?? null),
  length: f.len ?? null, table: f.table ?? null }]));
const nodes = (segments) => Object.entries(segments || {}).map(([name, s]) =>
  [s.segments ? 'G' : 'S', name, s.min ?? 0, s.max ?? 0, s.segments ? nodes(s.segments) : []]);
const map = (o, f) => Object.fromEntries(Object.entries(o).map(([k, v]) => [k, f(v)]));
fs.writeFileSync(process.argv[2], JSON.stringify(map(dictionaries, (d) => ({
  segments: map(d.segments, (s) => layout(s.fields)), types: map(d.types, (t) => layout(t.fields)),
  messages: map(d.messages, (m) => nodes(m.segments)) }))));
"""


class Hl7apy:
    """One version of hl7apy; None for a version that it does not have."""

    def __init__(self, version):
        module = importlib.import_module("hl7apy.v" + version.replace(".", "_"))
        self.module = module
        self.malformed, self.empty = [], []
        self.messages = {name: self.nodes(name, body) for name, body in module.MESSAGES.items()}
        self.segments = {}
        for name, body in module.SEGMENTS.items():
            if name == "ANYHL7SEGMENT":
                continue
            if not isinstance(body[0], str):
                self.malformed.append(name)
                fields = body
            elif len(body) < 2:
                self.empty.append(name)
                fields = ()
            else:
                fields = body[1]
            self.segments[name] = self.layout(fields, module.FIELDS)
        self.types = {name: self.layout(body, module.DATATYPES) for name, body in module.DATATYPES_STRUCTS.items()}
        tables = getattr(module, "TABLES", {})
        self.tables = {int(name[3:]): list(body[1]) for name, body in tables.items()}

    @staticmethod
    def layout(children, definitions):
        numbered = {}
        for name, _, (low, high), _ in children:
            number = int(name.rsplit("_", 1)[1])
            _, _, kind, _, table, _ = (list(definitions[name]) + [None] * 6)[:6]
            usage = "W" if high == 0 else "R" if low else "O"
            table = int(table[3:]) if table and re.fullmatch(r"HL7\d{4}", table) and table != "HL79999" else None
            numbered[number] = dict(type=kind and str(kind), usage=usage, repeats=max(high, 0), length=None, table=table)
        return numbered

    def nodes(self, owner, body):
        out = []
        for name, _, (low, high), kind in body[1]:
            high = max(high, 0)
            if name == "ANYHL7SEGMENT":
                out.append(("A", "", low, high, []))
            elif kind == "SEG":
                out.append(("S", name, low, high, []))
            else:
                group = self.module.GROUPS[name]
                short = re.sub(r"^[A-Z0-9]{3}_[A-Z0-9]{3}_", "", name).replace("TIIMING", "TIMING")
                out.append(("C" if group[0] == "choice" else "G", short, low, high, self.nodes(owner, group)))
        return out


class Hl7types:
    """One version of hl7types, read as text: its modules are never imported."""

    def __init__(self, site, version):
        self.home = site / "hl7types" / "hl7" / ("v" + version.replace(".", "_"))
        self.messages, self.events = {}, {}
        for path in sorted((self.home / "messages").glob("*.py")):
            if path.stem == "__init__":
                continue
            base = self.read(path)[0]
            if base == "HL7Model":
                self.messages[path.stem] = self.nodes(path)
                self.events[path.stem] = path.stem
            else:
                self.events[path.stem] = base
        self.segments = {p.stem: self.layout(p) for p in sorted((self.home / "segments").glob("*.py")) if re.fullmatch("[A-Z][A-Z0-9]{2}", p.stem)}
        self.types = {p.stem: self.layout(p) for p in sorted((self.home / "datatypes").glob("*.py")) if p.stem != "__init__"}

    @staticmethod
    @functools.cache
    def read(path):
        tree = ast.parse(path.read_text())
        body = next(n for n in tree.body if isinstance(n, ast.ClassDef))
        return body.bases[0].id, body

    def nodes(self, path):
        out = []
        for item in self.read(path)[1].body:
            if not isinstance(item, ast.AnnAssign):
                continue
            text = ast.unparse(item.annotation)
            name = re.sub(r"Optional|List|list|[\[\]]|\| None", "", text).strip().lstrip("_")
            many, low = "ist[" in text, 0 if "Optional" in text or "None" in text else 1
            group = self.home / "groups" / (name + ".py")
            if name in ("Any", "Hxx", "Zxx"):
                out.append(("A", "", low, 0 if many else 1, []))
            elif group.is_file():
                short = re.sub(r"^[A-Z0-9]{3}_[A-Z0-9]{3}_", "", name).replace("TIIMING", "TIMING")
                out.append(("G", short, low, 0 if many else 1, self.nodes(group)))
            else:
                out.append(("S", name, low, 0 if many else 1, []))
        return out

    LINE = re.compile(r"^\s*\w+\.(\d+) (?:\((req|opt)\) )?- .*?\((\w+)\)(?: ([A-Z]+))?( rep)?(?: S\S+)?(?: \| (\d{4}).*)?$", re.M)

    def layout(self, path):
        doc = ast.get_docstring(self.read(path)[1]) or ""
        numbered = {}
        for number, need, kind, letter, many, table in self.LINE.findall(doc):
            usage = {"req": "R", "opt": "O"}.get(need) or (letter if letter in ("R", "O", "C", "B", "W", "X") else None)
            table = int(table) if table and table != "9999" else None
            numbered[int(number)] = dict(type=kind, usage=usage, repeats=0 if many else 1, length=None, table=table)
        return numbered
