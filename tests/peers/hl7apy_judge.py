"""What hl7apy says of messages: `hl7apy_judge.py FILE [PROCESSES]`.

In: one message a line, a name, a tab, and the message, whose segments end in carriage returns.
Out: one line a message, in the same order: the name, a tab, and `accept` or what hl7apy holds against it.
The level is `strict` if the name ends in `/strict`, else the message is read with good will and validated afterwards.
"""
import concurrent.futures
import sys

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message


def judge(line):
    name, message = line.split("\t", 1)
    strict = name.endswith("/strict")
    level = VALIDATION_LEVEL.STRICT if strict else VALIDATION_LEVEL.TOLERANT
    try:
        parsed = parse_message(message.rstrip("\n"), validation_level=level)
        said = "accept" if parsed.validate() else "refuse"
    # Broken messages make it raise whatever it likes, attribute errors included.
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    # Values are told in angle brackets and have no place in a report.
    return f"{name}\t{' '.join(said.split())[:200]}"


def main():
    with open(sys.argv[1], newline="\n", encoding="latin-1") as lines:
        lines = list(lines)
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with concurrent.futures.ProcessPoolExecutor(processes) as pool:
        for said in pool.map(judge, lines, chunksize=8):
            print(said, flush=True)


main()
