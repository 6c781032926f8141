"""Both ends of transactions that outlive an association, on pynetdicom.

usage: partner.py device PORT FOLDER
           accepts as US07: C-ECHO, C-STORE and the results of storage commitment
       partner.py pacs HOST PORT FOLDER DEVICE_HOST DEVICE_PORT
           accepts as PACS1 at HOST: C-STORE, storage commitment, performed procedure steps
       partner.py call FROM CALLING CALLED HOST PORT echo|store FILE [ORIGINATOR ID]|report TRANSACTION INSTANCE...
           dials from the address FROM
       partner.py ask HOST PORT CALLING CALLED commit TRANSACTION INSTANCE...|step INSTANCE STATUS...
           asks for storage commitment and waits for a result; creates a step, then sets each further status

FOLDER/asked gets a line for everything that was asked. FOLDER/.mode of a PACS says how it brings a result:
new, same, never, unrelated, others, twice, double (one instance twice), failures, contradiction.
Instances are of Ultrasound Image Storage.
"""

import os
import sys
import threading
import time

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    UltrasoundImageStorage,
    Verification,
)

import told
from told import outcome

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
FOLDER = None


def asked(line):
    with open(os.path.join(FOLDER, "asked"), "a") as file:
        file.write(line + "\n")


def mode():
    try:
        with open(os.path.join(FOLDER, ".mode")) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "new"


def patient(ae):
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 15
    return ae


def items(instances):
    sequence = []
    for instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID = UltrasoundImageStorage
        item.ReferencedSOPInstanceUID = instance
        sequence.append(item)
    return sequence


def transaction(uid, instances):
    dataset = Dataset()
    dataset.TransactionUID = uid
    dataset.ReferencedSOPSequence = items(instances)
    return dataset


def result(uid, instances, how):
    """Event type and data set."""
    if how == "unrelated":
        return 1, transaction("2.25.999", instances)
    if how == "others":
        return 1, transaction(uid, instances[:-1] + ["2.25.4242"])
    if how == "double":
        return 1, transaction(uid, instances + instances[:1])
    dataset = transaction(uid, instances[1:] if how in ("failures", "contradiction") else instances)
    if how in ("failures", "contradiction"):
        failed = items(instances[:1])
        failed[0].FailureReason = 0x0112
        dataset.FailedSOPSequence = failed
        if not dataset.ReferencedSOPSequence:
            del dataset.ReferencedSOPSequence
    return (2 if how == "failures" else 1), dataset


def begun(status):
    """A step as it begins (PS3.4 F.7.2.1)."""
    dataset = Dataset()
    for keyword in (
        "ProcedureCodeSequence",
        "ReferencedPatientSequence",
        "PerformedProtocolCodeSequence",
        "PerformedSeriesSequence",
    ):
        setattr(dataset, keyword, [])
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "PerformedStationName",
        "PerformedLocation",
        "PerformedProcedureStepEndDate",
        "PerformedProcedureStepEndTime",
        "PerformedProcedureStepDescription",
        "PerformedProcedureTypeDescription",
    ):
        setattr(dataset, keyword, "")
    dataset.Modality = "US"
    dataset.PerformedStationAETitle = "US07"
    dataset.PerformedProcedureStepStartDate = "20260102"
    dataset.PerformedProcedureStepStartTime = "101112"
    dataset.PerformedProcedureStepStatus = status
    dataset.PerformedProcedureStepID = "1"
    scheduled = Dataset()
    scheduled.ReferencedStudySequence = []
    scheduled.ScheduledProtocolCodeSequence = []
    for keyword in (
        "AccessionNumber",
        "RequestedProcedureDescription",
        "ScheduledProcedureStepDescription",
        "ScheduledProcedureStepID",
        "RequestedProcedureID",
    ):
        setattr(scheduled, keyword, "")
    scheduled.StudyInstanceUID = "2.25.100"
    dataset.ScheduledStepAttributesSequence = [scheduled]
    return dataset


def changed(status):
    """A step as it changes; what has ended says what came of it (PS3.4 F.7.2.2)."""
    dataset = Dataset()
    dataset.PerformedProcedureStepStatus = status
    if status not in ("COMPLETED", "DISCONTINUED"):
        return dataset
    dataset.PerformedProcedureStepEndDate = "20260102"
    dataset.PerformedProcedureStepEndTime = "101212"
    series = Dataset()
    for keyword in (
        "RetrieveAETitle",
        "SeriesDescription",
        "PerformingPhysicianName",
        "OperatorsName",
    ):
        setattr(series, keyword, "")
    series.ReferencedImageSequence = []
    series.ReferencedNonImageCompositeSOPInstanceSequence = []
    series.ProtocolName = "ABDOMEN"
    series.SeriesInstanceUID = "2.25.101"
    dataset.PerformedSeriesSequence = [series]
    return dataset


def said(status):
    return f"{status.Status:04X}" if "Status" in status else "none"


def report(assoc, uid, instances, how):
    kind, dataset = result(uid, instances, how)
    status, _ = assoc.send_n_event_report(dataset, kind, StorageCommitmentPushModel, WELL_KNOWN)
    return said(status)


def reporter(calling):
    ae = patient(AE(calling))
    ae.add_requested_context(StorageCommitmentPushModel)
    return ae, [build_role(StorageCommitmentPushModel, scp_role=True)]


def on_association(event):
    request = event.assoc.requestor
    asked(f"association {request.ae_title} {request.primitive.called_ae_title}")


def on_store(event):
    asked(f"store {event.request.AffectedSOPInstanceUID}")
    return 0x0000


def on_report(event):
    dataset = event.event_information
    asked(f"report {event.request.EventTypeID} {dataset.TransactionUID}")
    return 0x0000, None


def device(port, folder):
    global FOLDER
    FOLDER = folder
    ae = patient(AE("US07"))
    ae.add_supported_context(Verification)
    ae.add_supported_context(UltrasoundImageStorage)
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    handlers = [
        (evt.EVT_CONN_OPEN, lambda event: asked("connection")),
        (evt.EVT_REQUESTED, on_association),
        (evt.EVT_C_ECHO, lambda event: asked("echo") or 0x0000),
        (evt.EVT_C_STORE, on_store),
        (evt.EVT_N_EVENT_REPORT, on_report),
    ]
    ae.start_server(("", int(port)), block=True, evt_handlers=handlers)


def pacs(host, port, folder, device_host, device_port):
    global FOLDER
    FOLDER = folder

    def bring(assoc, uid, instances):
        how = mode()
        if how == "never":
            return
        # The answer to the request goes first.
        time.sleep(0.3)
        if how == "same":
            asked(f"brought {report(assoc, uid, instances, how)}")
            return
        ae, roles = reporter("PACS1")
        new = ae.associate(
            device_host,
            int(device_port),
            ae_title="US07",
            ext_neg=roles,
            bind_address=(host, 0),
            evt_handlers=told.HANDLERS,
        )
        if not new.is_established:
            asked(f"brought {outcome(new)}")
            return
        for _ in range(2 if how == "twice" else 1):
            asked(f"brought {report(new, uid, instances, how)}")
        new.release()

    def on_action(event):
        dataset = event.action_information
        uid = dataset.TransactionUID
        instances = [item.ReferencedSOPInstanceUID for item in dataset.ReferencedSOPSequence]
        asked(f"action {event.request.ActionTypeID} {uid} {len(instances)}")
        threading.Thread(target=bring, args=(event.assoc, uid, instances), daemon=True).start()
        return 0x0000, None

    def on_create(event):
        asked(f"create {event.attribute_list.PerformedProcedureStepStatus}")
        answer = Dataset()
        answer.PerformedProcedureStepStatus = event.attribute_list.PerformedProcedureStepStatus
        return 0x0000, answer

    def on_set(event):
        asked(f"set {event.modification_list.PerformedProcedureStepStatus}")
        return 0x0000, None

    ae = patient(AE("PACS1"))
    for context in (
        Verification,
        UltrasoundImageStorage,
        StorageCommitmentPushModel,
        ModalityPerformedProcedureStep,
    ):
        ae.add_supported_context(context)
    handlers = [
        (evt.EVT_REQUESTED, on_association),
        (evt.EVT_C_ECHO, lambda event: 0x0000),
        (evt.EVT_C_STORE, on_store),
        (evt.EVT_N_ACTION, on_action),
        (evt.EVT_N_CREATE, on_create),
        (evt.EVT_N_SET, on_set),
    ]
    ae.start_server((host, int(port)), block=True, evt_handlers=handlers)


def call(source, calling, called, host, port, what, *more):
    roles = []
    ae = patient(AE(calling))
    ae.connection_timeout = 4
    if what == "report":
        ae, roles = reporter(calling)
        ae.connection_timeout = 4
    else:
        ae.add_requested_context(Verification)
        ae.add_requested_context(UltrasoundImageStorage)
    assoc = ae.associate(
        host,
        int(port),
        ae_title=called,
        ext_neg=roles,
        bind_address=(source, 0),
        evt_handlers=told.HANDLERS,
    )
    if not assoc.is_established:
        print(outcome(assoc))
        return
    print("accepted")
    if what == "echo":
        print("status", said(assoc.send_c_echo()))
    if what == "store":
        originator = (more[1], int(more[2])) if len(more) > 1 else (None, None)
        status = assoc.send_c_store(
            dcmread(more[0]), originator_aet=originator[0], originator_id=originator[1]
        )
        print("status", said(status))
    if what == "report":
        print("status", report(assoc, more[0], list(more[1:]), "new"))
    assoc.release()


def ask(host, port, calling, called, what, *more):
    came = threading.Event()

    def on_result(event):
        print("result", event.request.EventTypeID, event.event_information.TransactionUID)
        came.set()
        return 0x0000, None

    ae = patient(AE(calling))
    for context in (StorageCommitmentPushModel, ModalityPerformedProcedureStep):
        ae.add_requested_context(context)
    handlers = [(evt.EVT_N_EVENT_REPORT, on_result), *told.HANDLERS]
    assoc = ae.associate(host, int(port), ae_title=called, evt_handlers=handlers)
    if not assoc.is_established:
        print(outcome(assoc))
        return
    if what == "commit":
        status, _ = assoc.send_n_action(
            transaction(more[0], more[1:]), 1, StorageCommitmentPushModel, WELL_KNOWN
        )
        print("status", said(status))
        came.wait(2)
    if what == "step":
        instance, first, *rest = more
        if first != "none":
            dataset = begun(first)
            status, _ = assoc.send_n_create(dataset, ModalityPerformedProcedureStep, instance)
            print("create", said(status))
        for word in rest:
            dataset = changed(word)
            status, _ = assoc.send_n_set(dataset, ModalityPerformedProcedureStep, instance)
            print("set", word, said(status))
    assoc.release()


{"device": device, "pacs": pacs, "call": call, "ask": ask}[sys.argv[1]](*sys.argv[2:])
