"""The tables of the ledger, version by version; an older ledger is brought up to date at start."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dicomnode.spool.errors import LedgerError

_VERSION_1 = """
CREATE TABLE series (
    id                  TEXT PRIMARY KEY,
    study_instance_uid  TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    state               TEXT NOT NULL,
    reason              TEXT NOT NULL DEFAULT '',
    detail              TEXT NOT NULL DEFAULT '',
    generation          INTEGER NOT NULL DEFAULT 1,
    attempts            INTEGER NOT NULL DEFAULT 0,
    instances           INTEGER NOT NULL DEFAULT 0,
    bytes               INTEGER NOT NULL DEFAULT 0,
    completeness        TEXT NOT NULL DEFAULT '',
    created_at          REAL NOT NULL,
    last_received_at    REAL NOT NULL,
    state_since         REAL NOT NULL,
    UNIQUE (study_instance_uid, series_instance_uid)
);
CREATE INDEX series_by_state ON series (state, state_since);
CREATE TABLE instance (
    series_id           TEXT NOT NULL REFERENCES series (id),
    sop_instance_uid    TEXT NOT NULL,
    sop_class_uid       TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    path                TEXT NOT NULL,
    bytes               INTEGER NOT NULL,
    sha256              TEXT NOT NULL,
    received_at         REAL NOT NULL,
    calling_ae_title    TEXT NOT NULL,
    generation          INTEGER NOT NULL,
    conflicts           INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (series_id, sop_instance_uid)
) WITHOUT ROWID;
CREATE TABLE result (
    series_id           TEXT NOT NULL REFERENCES series (id),
    sop_instance_uid    TEXT NOT NULL,
    generation          INTEGER NOT NULL,
    position            INTEGER NOT NULL,
    kind                TEXT NOT NULL,
    sop_class_uid       TEXT NOT NULL,
    path                TEXT NOT NULL,
    created_at          REAL NOT NULL,
    PRIMARY KEY (series_id, sop_instance_uid)
) WITHOUT ROWID;
CREATE TABLE delivery (
    series_id           TEXT NOT NULL,
    sop_instance_uid    TEXT NOT NULL,
    destination         TEXT NOT NULL,
    state               TEXT NOT NULL,
    attempts            INTEGER NOT NULL DEFAULT 0,
    next_attempt_at     REAL NOT NULL,
    last_error          TEXT NOT NULL DEFAULT '',
    delivered_at        REAL,
    PRIMARY KEY (series_id, sop_instance_uid, destination),
    FOREIGN KEY (series_id, sop_instance_uid) REFERENCES result (series_id, sop_instance_uid)
) WITHOUT ROWID;
CREATE INDEX delivery_due ON delivery (state, destination, next_attempt_at);
"""

# purged_at: the files are gone, the row stays. position_mm: along the slice normal, for the search for gaps.
# wants_commitment: the destination is to promise that it keeps the object before it may be purged here.
_VERSION_2 = """
ALTER TABLE series ADD COLUMN purge_requested_at REAL;
ALTER TABLE series ADD COLUMN purged_at REAL;
ALTER TABLE instance ADD COLUMN position_mm REAL;
CREATE INDEX instance_by_uid ON instance (sop_instance_uid);
ALTER TABLE result ADD COLUMN series_instance_uid TEXT NOT NULL DEFAULT '';
UPDATE result SET path = substr(path, instr(path, 'results/' || series_id || '/'))
    WHERE instr(path, 'results/' || series_id || '/') > 0;
ALTER TABLE delivery ADD COLUMN wants_commitment INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN transaction_uid TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN committed_at REAL;
CREATE INDEX delivery_by_transaction ON delivery (transaction_uid) WHERE transaction_uid <> '';
CREATE TABLE event (
    number     INTEGER PRIMARY KEY,
    series_id  TEXT NOT NULL REFERENCES series (id),
    at         REAL NOT NULL,
    state      TEXT NOT NULL,
    generation INTEGER NOT NULL,
    text       TEXT NOT NULL
);
CREATE INDEX event_by_series ON event (series_id, number);
CREATE TABLE destination (
    name            TEXT PRIMARY KEY,
    failures        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at REAL NOT NULL DEFAULT 0,
    last_error      TEXT NOT NULL DEFAULT '',
    last_success_at REAL
);
CREATE TABLE kind_refusal (
    destination TEXT NOT NULL,
    kind        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    objects     INTEGER NOT NULL,
    for_good    INTEGER NOT NULL,
    refused_at  REAL NOT NULL,
    PRIMARY KEY (destination, kind)
) WITHOUT ROWID;
CREATE TABLE commitment (
    transaction_uid TEXT PRIMARY KEY,
    destination     TEXT NOT NULL,
    requested_at    REAL NOT NULL,
    ask_again_at    REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX commitment_by_destination ON commitment (destination, ask_again_at);
CREATE TABLE commitment_request (
    requestor       TEXT NOT NULL,
    transaction_uid TEXT NOT NULL,
    requested_at    REAL NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at REAL NOT NULL,
    last_error      TEXT NOT NULL DEFAULT '',
    reported_at     REAL,
    PRIMARY KEY (requestor, transaction_uid)
) WITHOUT ROWID;
CREATE TABLE commitment_request_item (
    requestor        TEXT NOT NULL,
    transaction_uid  TEXT NOT NULL,
    position         INTEGER NOT NULL,
    sop_class_uid    TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    PRIMARY KEY (requestor, transaction_uid, position),
    FOREIGN KEY (requestor, transaction_uid) REFERENCES commitment_request (requestor, transaction_uid)
) WITHOUT ROWID;
"""

_VERSION_3 = """
CREATE INDEX commitment_request_item_by_uid ON commitment_request_item (sop_instance_uid);
CREATE INDEX commitment_request_by_turn ON commitment_request (next_attempt_at) WHERE reported_at IS NULL
"""

# corrects: the CT series that a series of edited segmentations was drawn on.
_VERSION_4 = """
ALTER TABLE series ADD COLUMN corrects TEXT NOT NULL DEFAULT '';
CREATE INDEX series_by_corrected ON series (corrects) WHERE corrects <> ''
"""

# patient_mark: digests of identifiers, so that the ledger names no patient after the images are purged.
_VERSION_5 = """
CREATE TABLE patient_result (
    series_id  TEXT PRIMARY KEY REFERENCES series (id),
    generation INTEGER NOT NULL,
    record     TEXT NOT NULL,
    findings   TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE patient_mark (
    series_id TEXT NOT NULL REFERENCES patient_result (series_id),
    keyword   TEXT NOT NULL,
    digest    TEXT NOT NULL,
    PRIMARY KEY (series_id, keyword)
) WITHOUT ROWID;
CREATE INDEX patient_mark_by_digest ON patient_mark (keyword, digest)
"""

# For the page, which lists series by the day on which they came.
_VERSION_6 = """
CREATE INDEX series_by_arrival ON series (created_at DESC, id)
"""

VERSIONS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6)
"""What each version changes in the one before; the first makes an empty ledger."""


def bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the versions that the ledger doesn't have yet, all of them or none.

    Raises
    ------
    LedgerError
        If a newer program wrote it.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(VERSIONS):
            raise LedgerError(
                f"the ledger {path} has schema version {version}, newer than {len(VERSIONS)}; "
                "install the newer program that wrote it"
            )
        for changes in VERSIONS[version:]:
            for statement in changes.split(";"):
                connection.execute(statement)
        if version < len(VERSIONS):  # writing the same number again would need room on the disk
            connection.execute(f"PRAGMA user_version = {len(VERSIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
