"""Writes PROVENANCE.md."""
import collections

REASONS = {
    "absent-version": "a source lacks the version",
    "malformed": "hl7apy 1.3.5 lacks the wrapper that says sequence; the fields are there",
    "empty-segment": "withdrawn with the version, and the source has no fields; the segment is known, its fields are not judged",
    "missing-segment": "a structure names it, the leading source does not define it",
    "missing-type": "a field names it, the leading source does not define it",
    "two-messages": "a query and its answer in one: no message has two headers",
    "structure-any": "hl7apy lacks the place for any segment of the master file, hl7types has it",
    "structure-alone": "2.7.1 differs here from its neighbours; hl7types alone, which keeps one of several equal siblings",
    "structure-choice": "the other source has no notion of a choice or of any segment, and flattens it",
    "structure-cardinality": "same segments in the same order, other cardinality or nesting; not decided by a third source",
    "structure-segments": "other segments; not decided by a third source",
    "event-from-dictionary": "the event is only in hl7v2-dictionary, with the same segments as a known structure",
    "event-twice": "hl7apy has a structure of the event's own, hl7types shares one; shared where both are equal",
    "event-without-structure": "the structure that the event would use is not carried in this version",
    "type": "the sources name different data types",
    "required": "the sources disagree; required only where all agree, because a false refusal is the greater harm",
    "corrected": "conditional in every version up to 2.8; the source that says so ends there, and the others never did",
    "required-later": "hl7v2-dictionary alone has the component as required, the leading source has it so from 2.6 on",
    "not-used": "hl7types alone says not used (X), against the other sources and the neighbouring versions; not taken",
    "repeats": "the sources disagree; the looser stands, except that a number beats no number",
    "table": "the sources name different tables; a majority decides, else the leading source",
    "no-codes": "the table is HL7's, but the sources have no codes (external lists, and all versions before 2.3.1)",
    "code-range": "the source writes a range; it is spelt out",
    "code-cut": "the source cuts codes after twelve characters; the whole codes of later versions stand",
    "code-spaced": "the source puts blanks around marks, a neighbouring version does not",
    "length-of-code": "fewer characters than any value of the type needs: the length of its code alone; not taken",
    "decided": "settled by hand against the neighbouring versions, each for the reason beside it (`decisions.tsv`)",
    "code-open": "not a code but a remark or a pattern",
}


def text(versions, counts, notes, size):
    classes = collections.Counter(row[0] for row in set(notes.rows))
    columns = list(next(iter(counts.values())))
    lines = [
        "# Where the grammar tables come from", "",
        "Written by `generate`; do not edit. Facts only: names, order, cardinalities, types, lengths, table numbers and codes.",
        "No text of the standard is in the tables. HL7 is a registered trademark of Health Level Seven International.", "",
        "| source | version | licence | taken |", "|---|---|---|---|",
        "| hl7apy (Python) | 1.3.5 | MIT | structures, fields, types, table numbers, codes; leads |",
        "| hl7types (Python) | 0.9.5 | MIT | events, usage; cross-check; version 2.7.1 |",
        "| hl7v2-dictionary (npm) | 1.8.0 | MIT | lengths, usage, repetition limits; cross-check |", "",
        "The licences cover the work of the packages' authors, not the rights of Health Level Seven in its standard.", "",
        f"## Counts ({size} bytes)", "",
        "| version | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in counts.items():
        lines.append(f"| {name} | " + " | ".join(str(row[c]) for c in columns) + " |")
    total = {c: sum(row[c] for row in counts.values()) for c in columns}
    lines.append("| all | " + " | ".join(str(total[c]) for c in columns) + " |")
    lines += ["", "## Structures compared", "", "A second sibling of the same name does not count against hl7types, which cannot have it. For 2.7.1 hl7types leads: nothing to compare.", "", "| version | same in hl7types | differs | same in hl7v2-dictionary | differs |", "|---|---|---|---|---|"]
    for v in versions:
        c = v.checked
        if v.name == "2.7.1":
            c = collections.Counter(c) | collections.Counter()
            c["hl7types same"] = c["hl7types differs"] = "-"
        lines.append(f"| {v.name} | {c['hl7types same']} | {c['hl7types differs']} | {c['hl7v2-dictionary same']} | {c['hl7v2-dictionary differs']} |")
    lines += ["", "## Exceptions", "", "Each one, with what was taken, is a line of `exceptions.tsv`.", "", "| class | count | reason |", "|---|---|---|"]
    for name in REASONS:
        if classes[name]:
            lines.append(f"| {name} | {classes[name]} | {REASONS[name]} |")
    assert set(classes) <= set(REASONS), set(classes) - set(REASONS)
    lines += ["", "## What the tables do not say", "",
              "- Lengths are normative up to 2.6; for 2.7, 2.7.1 and 2.8 the numbers are kept, for 2.8.1 and 2.8.2 there are none.",
              "- Codes begin with 2.3.1. Who defines a table is told by the data types that draw on it (ID, CNE: HL7; IS: user).",
              "- Fields kept for backward compatibility (B) are marked from 2.7 on; before, they count as optional.",
              "- The condition of a conditional field (C) is not in any source.", "",
              "## Looked at and left", "",
              "Neighbouring versions were compared field by field; these rows stand out and stay.", "",
              "- OBX-4 is conditional in every version, and of type OG in 2.8.2, which brought that type.",
              "- OBX-4 of 2.1 is a number, OBR-7 to OBR-9, OBR-14 and OBR-22 of 2.1 are required: all sources agree.",
              "- Not required in one version alone: CTD.1, LCH.5, OM1.2, OM1.4, OM1.5, OM1.8 and RDT.1 of 2.3.1; IN1.2, PR1.3, PR1.5, QRD.1 and RXG.1 of 2.3. The looser stands.",
              "- OM1.2 and OM1.4 are required in 2.3 and from 2.4 on.",
              "- Other types in one version alone, all as loose: AL1.1 of 2.4; RXA.1, RXD.9, RXG.1, CE.4 and CK.2 of 2.3; CF.1, CF.4, SCV.2 and TQ.8 of 2.3.1; DLD.1 of 2.4.",
              "- Other tables in one version alone, without codes in it: CK.3 of 2.2; NST.1, PRA.3 and PRA.4 of 2.3.",
              "- Without limit in one version alone: OBR.2, ORC.2 and PID.16 of 2.3; PR1.2 to PR1.4 of 2.2. Three times: GT1.6, GT1.7, GT1.18, NK1.5 and PID.11 of 2.2. UB1 of 2.6 has numbers.",
              "- Lengths of codes (ID) shrink between versions; how long a code is, its table says, and the length is not judged.",
              "- A time stamp of eight characters (IAM.13, IAM.20, PV2.8, STF.31) is a date.", ""]
    return "\n".join(lines)
