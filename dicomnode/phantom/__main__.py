"""``python -m dicomnode.phantom OUT``: make a test CT."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from rich.progress import Progress

from dicomnode.phantom.build import build_phantom
from dicomnode.phantom.encode import TRANSFER_SYNTAXES
from dicomnode.phantom.options import PatientPosition, SeriesOptions, SliceOrder
from dicomnode.phantom.series import write_series
from dicomnode.phantom.spec import Kernel, LesionSpec, PhantomError, PhantomSpec, Place
from dicomnode.segment.segmentation import Lobe


def main(arguments: list[str] | None = None) -> int:
    """Build a phantom, write its series and its truth beside it.

    Exit status 0 done, 1 not possible, 2 wrong usage.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        spec = PhantomSpec.whole_lung(
            tuple(chosen.ct_matrix),
            seed=chosen.seed,
            lesions=tuple(_lesion(text) for text in chosen.lesion),
            noise_hu=chosen.noise,
            kernel=chosen.kernel,
        )
        with Progress() as bar:
            task = bar.add_task("phantom", total=1.0)
            phantom = build_phantom(
                spec, lambda step, share: bar.update(task, description=step, completed=share)
            )
        paths = write_series(
            phantom,
            chosen.out,
            transfer_syntax_uid=chosen.transfer_syntax,
            patient_position=chosen.patient_position,
            slice_order=chosen.slice_order,
            patient_name=chosen.patient_name,
            patient_id=chosen.patient_id,
            study_date=chosen.study_date,
        )
    except (PhantomError, OSError) as error:
        print(f"phantom: {error}", file=sys.stderr)
        return 1
    truth = chosen.out.parent / f"{chosen.out.name}_truth.json"
    truth.write_text(json.dumps(dict(phantom.truth), indent=2) + "\n", encoding="utf-8")
    print(f"{len(paths)} CT images in {chosen.out}, true measures in {truth}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dicomnode.phantom", description="Build a chest CT whose true measures are known."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the CT images")
    parser.add_argument(
        "--ct-matrix",
        type=int,
        nargs=3,
        metavar=("SLICES", "ROWS", "COLUMNS"),
        default=(60, 96, 96),
        help="size of the CT; spacing is chosen so that it covers both lungs (default 60 96 96)",
    )
    parser.add_argument("--seed", type=int, default=0, help="which patient (default 0)")
    parser.add_argument(
        "--lesion",
        action="append",
        default=[],
        metavar="KIND:ML:LOBE[:PLACE]",
        help="a lesion, e.g. ggo:80:right_lower or consolidation:30:left_lower:central; may be repeated",
    )
    parser.add_argument(
        "--noise", type=float, default=15.0, metavar="HU", help="noise deviation (default 15)"
    )
    parser.add_argument("--kernel", choices=[str(k) for k in Kernel], default=str(Kernel.STANDARD))
    parser.add_argument(
        "--transfer-syntax", choices=TRANSFER_SYNTAXES, default=TRANSFER_SYNTAXES[0], metavar="UID"
    )
    parser.add_argument("--patient-position", choices=[str(p) for p in PatientPosition], default="HFS")
    parser.add_argument("--slice-order", choices=[str(o) for o in SliceOrder], default="ascending")
    parser.add_argument("--patient-name", default="Phantom^Chest")
    parser.add_argument("--patient-id", default="PHANTOM")
    parser.add_argument(
        "--study-date",
        type=_date,
        default=SeriesOptions().study_date,
        metavar="YYYYMMDD",
        help="serial scans of one patient differ in it (default %(default)s)",
    )
    return parser


def _date(text: str) -> str:
    if len(text) != len("YYYYMMDD"):
        raise ValueError(text)
    return f"{date.fromisoformat(text):%Y%m%d}"


def _lesion(text: str) -> LesionSpec:
    parts = text.split(":")
    if len(parts) not in (3, 4):
        raise PhantomError(f"lesion {text!r} is not KIND:ML:LOBE[:PLACE]")
    try:
        volume_ml, lobe = float(parts[1]), Lobe[parts[2].upper()]
    except (ValueError, KeyError) as error:
        raise PhantomError(f"lesion {text!r}: {error} is no volume in mL or no lobe") from error
    return LesionSpec(parts[0], volume_ml, lobe, parts[3] if len(parts) == 4 else Place.PERIPHERAL)


if __name__ == "__main__":
    sys.exit(main())
