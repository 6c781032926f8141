"""What a pynetdicom requestor was told when it has no association.

pynetdicom waits for its connection in one thread and reads in another. A rejection that is read, and the connection
closed after it, before the first thread goes on looks to it like a connection that never was: it says "aborted".
So a rejection counts from the moment it was read.
"""

from pynetdicom import evt
from pynetdicom.pdu import A_ASSOCIATE_RJ


def _read(event):
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        event.assoc.told = event.pdu


# For `associate(evt_handlers=...)`.
HANDLERS = [(evt.EVT_PDU_RECV, _read)]


def outcome(assoc):
    answer = getattr(assoc, "told", None)
    if answer is not None:
        return f"rejected {answer.result} {answer.source} {answer.reason_diagnostic}"
    return "aborted" if assoc.is_aborted else "no association"
