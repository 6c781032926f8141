"""A DICOM archive on pynetdicom: keeps data sets as the raw bytes that arrived.

usage: pacs.py HOST PORT FOLDER

Data sets go to FOLDER/NNNN.dataset; FOLDER/asked gets a line for everything that was asked.
FOLDER/.mode may say, at any time: ok, hang, abort, refuse, warn.
"""

import os
import sys
import time

from pynetdicom import AE, evt, AllStoragePresentationContexts
from pynetdicom.sop_class import Verification

HOST, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
SYNTAXES = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.5",
]
count = 0


def mode():
    try:
        with open(os.path.join(FOLDER, ".mode")) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "ok"


def asked(line):
    with open(os.path.join(FOLDER, "asked"), "a") as file:
        file.write(line + "\n")


def on_association(event):
    request = event.assoc.requestor
    names = ",".join(cx.abstract_syntax.name for cx in request.requested_contexts)
    asked(f"association {request.ae_title} {request.primitive.called_ae_title} {names}")


def on_echo(event):
    asked("echo")
    return 0x0000


def on_store(event):
    global count
    request = event.request
    asked(f"store {request.AffectedSOPClassUID} {request.AffectedSOPInstanceUID}")
    how = mode()
    if how == "hang":
        time.sleep(3600)
    if how == "abort":
        event.assoc.abort()
        return 0x0110
    if how == "refuse":
        return 0xA700
    count += 1
    path = os.path.join(FOLDER, f"{count:04}.dataset")
    with open(path + ".part", "wb") as file:
        file.write(request.DataSet.getvalue())
    os.rename(path + ".part", path)
    return 0xB000 if how == "warn" else 0x0000


ae = AE("PACS1")
ae.maximum_pdu_size = 16384
ae.add_supported_context(Verification)
for context in AllStoragePresentationContexts:
    ae.add_supported_context(context.abstract_syntax, SYNTAXES)
handlers = [
    (evt.EVT_REQUESTED, on_association),
    (evt.EVT_C_ECHO, on_echo),
    (evt.EVT_C_STORE, on_store),
]
ae.start_server((HOST, PORT), block=True, evt_handlers=handlers)
