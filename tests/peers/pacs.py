"""A DICOM archive on pynetdicom: keeps data sets as the raw bytes that arrived.

usage: pacs.py HOST PORT FOLDER

Data sets go to FOLDER/NNNN.dataset; FOLDER/asked gets a line for everything that was asked, FOLDER/aborted one for each
association that the other end aborted.
FOLDER/.mode may say, at any time: ok, hang, abort, refuse, warn, or how many results a query has (else five).
C-GET brings, of the first data set that was stored, copies whose identifiers are paths, and then itself.
"""

import os
import sys
import time

from pydicom import Dataset, config, dcmread
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE, evt, AllStoragePresentationContexts
from pynetdicom.sop_class import (
    ModalityWorklistInformationFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    UltrasoundImageStorage,
    Verification,
)

HOST, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
SYNTAXES = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.5",
]
ROOT = "1.2.826.0.1.3680043.10.5200"
# What it brings may be wrong on purpose.
config.settings.writing_validation_mode = config.IGNORE
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


def on_abort(event):
    with open(os.path.join(FOLDER, "aborted"), "a") as file:
        file.write(f"{event.assoc.requestor.ae_title}\n")


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


def on_find(event):
    asked(f"find {event.request.AffectedSOPClassUID}")
    how = mode()
    for number in range(int(how) if how.isdigit() else 5):
        found = Dataset()
        found.PatientID = event.identifier.get("PatientID", "")
        found.StudyInstanceUID = f"{ROOT}.2.{number + 1}"
        if "QueryRetrieveLevel" in event.identifier:
            found.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
        yield 0xFF00, found


def on_get(event):
    asked("get")
    changes = [
        {"SOPInstanceUID": "../../../../tmp/x"},
        {"SOPInstanceUID": "/etc/cron.d/x"},
        {"StudyInstanceUID": "../../x"},
        {"PatientID": "../../root"},
        {},
    ]
    yield len(changes)
    for change in changes:
        found = dcmread(os.path.join(FOLDER, "0001.dataset"), force=True)
        found.file_meta = FileMetaDataset()
        found.file_meta.TransferSyntaxUID = SYNTAXES[1]
        for name, value in change.items():
            setattr(found, name, value)
        asked(f"brings {found.SOPInstanceUID}")
        yield 0xFF00, found


ae = AE("PACS1")
ae.maximum_pdu_size = 16384
ae.add_supported_context(Verification)
for context in AllStoragePresentationContexts:
    ae.add_supported_context(context.abstract_syntax, SYNTAXES)
ae.add_supported_context(ModalityWorklistInformationFind)
ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
ae.add_supported_context(UltrasoundImageStorage, SYNTAXES, scu_role=True, scp_role=True)
handlers = [
    (evt.EVT_REQUESTED, on_association),
    (evt.EVT_ABORTED, on_abort),
    (evt.EVT_C_ECHO, on_echo),
    (evt.EVT_C_STORE, on_store),
    (evt.EVT_C_FIND, on_find),
    (evt.EVT_C_GET, on_get),
]
ae.start_server((HOST, PORT), block=True, evt_handlers=handlers)
