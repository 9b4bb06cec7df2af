"""N-EVENT-REPORT of storage commitment, sent by the node."""

from __future__ import annotations

from io import BytesIO
from typing import cast

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode

from dicomnode.receive.calling import NoAnswerError
from dicomnode.receive.messages import BoundedMessages
from dicomnode.storage_commitment import SOP_CLASS, SOP_INSTANCE, Report, build_report


def notify(association: Association, report: Report) -> int:
    """Tell the peer on an association that the node opened; the status of its answer.

    Raises
    ------
    NoAnswerError
        If there is none in the association's DIMSE timeout.
    """
    try:
        answer, _ = association.send_n_event_report(
            build_report(report), report.event_type, SOP_CLASS, SOP_INSTANCE
        )
    except (ValueError, RuntimeError) as error:
        raise NoAnswerError("the peer doesn't accept storage commitment with the node as SCP") from error
    if "Status" not in answer:
        raise NoAnswerError("no answer to the storage commitment report")
    return int(answer.Status)


def notify_while_serving(association: Association, report: Report, seconds: float) -> int:
    """Tell the peer on an association that it opened, while its requests are still served.

    Raises
    ------
    NoAnswerError
        If it doesn't answer within ``seconds``, or the association ends.
    """
    for context in association.accepted_contexts:
        if context.abstract_syntax == SOP_CLASS:
            break
    else:
        raise NoAnswerError("storage commitment was not negotiated")
    syntax = context.transfer_syntax[0]
    encoded = encode(build_report(report), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    request = N_EVENT_REPORT()
    request.AffectedSOPClassUID = SOP_CLASS
    request.AffectedSOPInstanceUID = SOP_INSTANCE
    request.EventTypeID = report.event_type
    request.EventInformation = BytesIO(encoded or b"")
    answer = cast(BoundedMessages, association.dimse).notify(request, cast(int, context.context_id), seconds)
    if answer is None:
        raise NoAnswerError("no answer to the storage commitment report")
    return int(answer.Status)
