"""Identifiers as text, from whatever character set."""

from __future__ import annotations

import warnings

from hypothesis import given
from hypothesis import strategies as st

from dicomnode.receive.dataset_scan import PatientElements
from dicomnode.receive.patient import Patient, decode_patient


def test_character_sets() -> None:
    latin = PatientElements(b"ISO_IR 100", b"A1 ", "Müller^Jörg".encode("latin-1"), b" P 7\0")
    assert decode_patient(latin) == Patient("P 7", "Müller^Jörg", "A1")
    utf8 = PatientElements(b"ISO_IR 192", patient_name="王^小東".encode())
    assert decode_patient(utf8).name == "王^小東"
    # PS3.5 H.3.1: Japanese with code extensions
    japanese = PatientElements(
        b"\\ISO 2022 IR 87", patient_name=b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"
    )
    assert decode_patient(japanese).name == "Yamada^Tarou=山田^太郎"


def test_nothing_is_nothing() -> None:
    assert decode_patient(PatientElements()) == Patient()


def test_a_forged_line_stays_in_its_line() -> None:
    forged = PatientElements(b"ISO_IR 192", patient_id=b"P1\n2026-01-01 INFO all is well\x1b[2J\xe2\x80\xa8")
    assert decode_patient(forged).id == "P1 2026-01-01 INFO all is well [2J"


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_whatever_the_network_sends_becomes_text(character_set: bytes, value: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patient = decode_patient(PatientElements(character_set, value, value, value))
    assert (patient.id + patient.name + patient.accession_number).isprintable()
