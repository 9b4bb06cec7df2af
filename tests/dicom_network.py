"""A storage server on a free port, dcmtk's tools, and small CT instances, for the tests of the network."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, AllTransferSyntaxes, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from dicomnode.receive.server import StorageServer
from dicomnode.spool.records import InstanceRecord
from dicomnode.spool.spool import Spool

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
DECODABLE = [str(uid) for uid in AllTransferSyntaxes]


@dataclass
class Node:
    """A running storage server with its spool."""

    server: StorageServer
    spool: Spool

    @property
    def port(self) -> int:
        return self.server.port

    def instances(self) -> list[InstanceRecord]:
        ledger = self.spool.ledger
        return [record for series in ledger.list_series() for record in ledger.instances(series.id)]

    def dcmtk(
        self, tool: str, *arguments: str | Path, called: str = "DICOMNODE"
    ) -> subprocess.CompletedProcess[str]:
        """Run a sender of dcmtk against the node."""
        command = [installed(tool), "-aec", called, "127.0.0.1", str(self.port), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def connect(self) -> socket.socket:
        """A plain TCP connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def echo_works(self) -> bool:
        return self.dcmtk("echoscu").returncode == 0


NodeFactory = Callable[..., Node]


def make_ct(number: int = 1, **attributes: object) -> Dataset:
    """A CT slice of 16 x 16 with nothing but what storing needs."""
    dataset = Dataset()
    dataset.SOPClassUID = UID(CT_IMAGE_STORAGE)
    dataset.SOPInstanceUID = UID(f"1.2.826.0.1.3680043.8.498.1.{number}")
    dataset.PatientName = "Secret^Name"
    dataset.StudyInstanceUID = UID("1.2.826.0.1.3680043.8.498.2")
    dataset.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.3")
    dataset.Rows = dataset.Columns = 16
    dataset.BitsAllocated = 16
    dataset.add_new(0x7FE00010, "OW", bytes(512))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def associate(node: Node, transfer_syntax: str = ExplicitVRLittleEndian) -> Association:
    """An association for CT Image Storage."""
    entity = AE("SCANNER")
    entity.add_requested_context(CT_IMAGE_STORAGE, transfer_syntax)
    association = entity.associate("127.0.0.1", node.port, ae_title="DICOMNODE")
    assert association.is_established
    return association


@contextmanager
def storescp(directory: Path, *options: str, port: int = 0) -> Iterator[tuple[int, Path]]:
    """dcmtk's storage SCP; yields its port and the folder it writes into."""
    received = directory / "received"
    received.mkdir(exist_ok=True)
    port = port or free_port()
    command = [installed("storescp"), "-od", str(received), *options, str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: is_listening(port))
        yield port, received
    finally:
        running.terminate()
        running.wait()


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 signed by itself, and its key."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = [installed("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether someone accepts connections on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until ``condition`` holds, and fail if it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def dataset_bytes(path: Path) -> bytes:
    """The data set of a DICOM file as it stands in it, without preamble and file meta information."""
    content = path.read_bytes()
    if content[128:132] != b"DICM":
        return content
    group_length = int.from_bytes(content[140:144], "little")
    assert content[132:136] == b"\x02\x00\x00\x00", "no group length"
    return content[144 + group_length :]


def installed(tool: str) -> str:
    # Not those beside the interpreter: pynetdicom installs tools of the same names as dcmtk's.
    beside = str(Path(sys.executable).parent)
    elsewhere = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != beside]
    path = shutil.which(tool, path=os.pathsep.join(elsewhere))
    if path is None:
        pytest.skip(f"{tool} is not installed (package dcmtk)")
    return path
