"""A DICOM sender on pynetdicom that breaks one thing.

usage: modality.py HOST PORT SCRIPT CALLING CALLED FILE

SCRIPT: store (breaks nothing), class-mismatch, instance-mismatch, traversal, group-2, unordered, odd-length,
deep, claims-2g, truncated, contexts (proposes many), raw-pdu:HEX (bytes instead of an association), inside:HEX[*COUNT] (bytes inside of an association, so many times).
Prints one line an event: `accepted`, `rejected RESULT SOURCE REASON`, `context ID RESULT`, `status XXXX`, `aborted`.
"""

import io
import socket
import struct
import sys

from pydicom import dcmread
from pydicom.filewriter import write_dataset
from pydicom.filebase import DicomBytesIO
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE

import told

HOST, PORT, SCRIPT, CALLING, CALLED, FILE = sys.argv[1:7]
PORT = int(PORT)


OTHERS = [
    "1.2.840.10008.1.1",
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.2.2.1",
    "1.2.840.10008.5.1.4.1.2.2.2",
    "1.2.840.10008.5.1.4.1.2.1.3",
    "1.2.840.10008.1.20.1",
    "1.2.3.4.5",
]


def encoded(dataset):
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def element(group, number, vr, value):
    """An explicit little endian element with a short length field."""
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def nested(depth):
    """Sequences of undefined length inside of each other, all closed."""
    head = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return (head + item) * depth + end * depth


def broken(body):
    """The data set of the file with the fault of the script."""
    if SCRIPT == "group-2":
        return element(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2\0") + body
    if SCRIPT == "unordered":
        return body + element(0x0010, 0x0010, b"PN", b"AGAIN^ME")
    if SCRIPT == "odd-length":
        return body + element(0x7FE1, 0x0010, b"LO", b"ODD")
    if SCRIPT == "deep":
        return nested(20000)
    if SCRIPT == "claims-2g":
        return body[:200] + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0x7FFFFFFE) + bytes(64)
    if SCRIPT == "truncated":
        return body[:-7]
    return body


def raw(text):
    with socket.create_connection((HOST, PORT), timeout=10) as stream:
        stream.sendall(bytes.fromhex(text))
        stream.settimeout(15)
        try:
            got = stream.recv(65536)
        except ConnectionError:
            print("reset")
            return
        except TimeoutError:
            print("nothing")
            return
        print("answer " + got.hex() if got else "closed")


def item(kind, body):
    return struct.pack(">BBH", kind, 0, len(body)) + body


def request():
    """An association request for ultrasound images and verification."""
    contexts = b"".join(
        item(0x20, bytes([number, 0, 0, 0]) + item(0x30, uid) + item(0x40, b"1.2.840.10008.1.2"))
        for number, uid in [(1, b"1.2.840.10008.5.1.4.1.1.6.1"), (3, b"1.2.840.10008.1.1")]
    )
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.826.0.1.3680043.10.5200.9")
    titles = CALLED.ljust(16).encode() + CALLING.ljust(16).encode()
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + item(0x50, user)
    body = struct.pack(">HH", 1, 0) + titles + bytes(32) + items
    return struct.pack(">BBI", 1, 0, len(body)) + body


def inside(text):
    text, _, count = text.partition("*")
    with socket.create_connection((HOST, PORT), timeout=10) as stream:
        stream.sendall(request())
        answer = stream.recv(65536)
        print("answer", answer[:1].hex())
        stream.settimeout(20)
        sent = 0
        try:
            for _ in range(int(count or 1)):
                stream.sendall(bytes.fromhex(text))
                sent += len(text) // 2
        except (ConnectionError, TimeoutError) as error:
            print("sending ended", type(error).__name__, sent)
        try:
            got = stream.recv(65536)
            print("then", got.hex() if got else "closed")
        except ConnectionError:
            print("then reset")
        except TimeoutError:
            print("then nothing")


def main():
    if SCRIPT.startswith("inside:"):
        inside(SCRIPT.split(":")[1])
        return
    if SCRIPT.startswith("raw-pdu:"):
        raw(SCRIPT.split(":")[1])
        return
    dataset = dcmread(FILE)
    ae = AE(CALLING)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    for uid in OTHERS if SCRIPT == "contexts" else []:
        ae.add_requested_context(uid)
    assoc = ae.associate(HOST, PORT, ae_title=CALLED, evt_handlers=told.HANDLERS)
    for context in assoc.accepted_contexts + assoc.rejected_contexts:
        print("context", context.context_id, context.result, context.abstract_syntax.name)
    if not assoc.is_established:
        print(told.outcome(assoc))
        return
    print("accepted")
    # Answers are ours to read, not the association's own thread's.
    assoc._reactor_checkpoint.clear()
    context = next(c.context_id for c in assoc.accepted_contexts if c.abstract_syntax == dataset.SOPClassUID)
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID = dataset.SOPClassUID
    request.AffectedSOPInstanceUID = dataset.SOPInstanceUID
    if SCRIPT == "class-mismatch":
        request.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    if SCRIPT == "instance-mismatch":
        request.AffectedSOPInstanceUID = "2.25.1"
    if SCRIPT == "traversal":
        request._AffectedSOPInstanceUID = "../../../../tmp/x"
    request.DataSet = io.BytesIO(broken(encoded(dataset)))
    assoc.dimse.send_msg(request, context)
    _, response = assoc.dimse.get_msg(block=True)
    if response is None:
        print("aborted")
        return
    print(f"status {response.Status:04X}")
    # The association must live on after a refusal: the same object, unbroken.
    request.AffectedSOPClassUID = dataset.SOPClassUID
    request.AffectedSOPInstanceUID = dataset.SOPInstanceUID
    request.MessageID = 2
    request.DataSet = io.BytesIO(encoded(dataset))
    assoc.dimse.send_msg(request, context)
    _, response = assoc.dimse.get_msg(block=True)
    print("again aborted" if response is None else f"again {response.Status:04X}")
    assoc.release()


main()
