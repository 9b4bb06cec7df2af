"""measure every CT series in a folder, without a network

Each series below DIR gets a folder of its own in OUT with the DICOM results (seg.dcm, sr.dcm),
measurements.json and overview.png. A series that can't be measured gets refusal.dcm, which says why.
Series are measured in the order of their study dates, and each is compared with the earlier studies of its
patient in DIR: see `prior` in measurements.json and the curve in overview.png.
With --format sc, the overview, or the page that says why, is a DICOM picture too (sc.dcm); pdf is the
overview and the report's remarks as a document, overlay the slices with the masks burnt in, ko a selection of
key images, gsps outlines of the lesions on these.

  dicomnode analyze ct/ --out results/
  dicomnode analyze archive/ --out results/ --device cpu --format sr,sc,nifti
"""

from __future__ import annotations

import argparse
import hashlib
import re
from functools import partial
from pathlib import Path

from rich.progress import Progress as Bars
from rich.progress import TaskID

from dicomnode.analysis import Analysis, Progress, stage_fraction
from dicomnode.assemble.series import SeriesFiles, find_series
from dicomnode.commands.common import CommandError
from dicomnode.computing import keep_freed_memory
from dicomnode.config import Config, load_config
from dicomnode.config_sections import Analysis as AnalysisSettings
from dicomnode.config_sections import Priors
from dicomnode.pipeline import analyze_series
from dicomnode.priors.folder import FolderPriors, in_order_of_time
from dicomnode.report.errors import ReportError
from dicomnode.report.result_set import FurtherResults, ResultKind
from dicomnode.segment.card import ModelError
from dicomnode.segment.runtimes.choose import WANTED
from dicomnode.segment.segmenter import Segmenter
from dicomnode.terminal import print_table, progress_bars

FORMATS = (*ResultKind, "nifti")
DEFAULT_FORMATS = ("seg", "sr")
UID_AS_FOLDER_NAME = re.compile(r"[0-9][0-9.]{0,63}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="folder with DICOM files, searched to the bottom"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results, made when missing")
    parser.add_argument(
        "--model", default=AnalysisSettings().model, help="one of `dicomnode models` (default: %(default)s)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs"
    )
    parser.add_argument(
        "--runtime",
        choices=WANTED,
        help="what runs the networks (default: auto, the fastest here, measured once and remembered)",
    )
    parser.add_argument(
        "--lungs",
        choices=("lungs", "classical"),
        default=AnalysisSettings().lungs,
        help="lungs with the network of that name, or by thresholds and shape alone (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        type=_formats,
        default=DEFAULT_FORMATS,
        help=f"what to write, of {','.join(FORMATS)} (default: {','.join(DEFAULT_FORMATS)})",
    )
    parser.add_argument(
        "--compare",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare with earlier studies of the same Patient ID in DIR (default: yes)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Analyze one series after the other; 1 when a series failed or none could be measured."""
    if not arguments.directory.is_dir():
        raise CommandError(f"there is no folder {arguments.directory}")
    found = find_series(arguments.directory)
    if not len(found):
        raise CommandError(f"there is no DICOM image below {arguments.directory}")
    keep_freed_memory()
    try:
        runtime = arguments.runtime or load_config(None).analysis.runtime
        segmenter = Segmenter.load(arguments.model, arguments.device, lungs=arguments.lungs, runtime=runtime)
    except ModelError as error:
        raise CommandError(str(error)) from error
    settings = Config(
        analysis=AnalysisSettings(model=arguments.model, device=arguments.device, lungs=arguments.lungs)
    )
    further = FurtherResults.of(
        set(arguments.format) - {"nifti"},
        settings.report.overlay == "multiframe",
        settings.report.language,
    )
    rows, measured, failed, earlier = [], 0, 0, FolderPriors(Priors())
    with progress_bars() as bars:
        for number, series in enumerate(in_order_of_time(found), 1):
            out = arguments.out / folder_name(series)
            title = f"series {number} of {len(found)}"
            task = bars.add_task(title, total=1.0)
            try:
                analysis = analyze_series(
                    series.paths,
                    segmenter,
                    out,
                    config_sha256=settings.analysis_sha256(),
                    progress=_show_on(bars, task, title),
                    nifti="nifti" in arguments.format,
                    priors=partial(earlier.before, series.paths) if arguments.compare else lambda: None,
                    further=further,
                )
            except (ReportError, OSError) as error:
                failed += 1
                rows.append((series.series_instance_uid, len(series.paths), f"failed: {error}", ""))
                continue
            finally:
                bars.remove_task(task)
            _keep_for_later(analysis, earlier)
            _keep_formats(analysis, arguments.format)
            measured += analysis.refusal is None
            rows.append((series.series_instance_uid, len(series.paths), _outcome(analysis), out))
    print_table("Series", ("Series Instance UID", "Instances", "Outcome", "Results in"), rows)
    for path in found.damaged:
        print(f"damaged, belongs to an unknown series: {path}")
    return 1 if failed or found.damaged or not measured else 0


def folder_name(series: SeriesFiles) -> str:
    """The series' UID, or a digest where a file's UID isn't one: it must not become a path."""
    uid = series.series_instance_uid
    if UID_AS_FOLDER_NAME.fullmatch(uid):
        return uid
    return "series-" + hashlib.sha256(uid.encode()).hexdigest()[:16]


def _show_on(bars: Bars, task: TaskID, title: str) -> Progress:
    def show(stage: str, fraction: float) -> None:
        bars.update(task, completed=stage_fraction(stage, fraction), description=f"{title}: {stage}")

    return show


def _outcome(analysis: Analysis) -> str:
    if analysis.refusal is None:
        return "measured"
    reason, detail = analysis.refusal
    return f"refused: {reason.value}: {detail}"


def _keep_for_later(analysis: Analysis, earlier: FolderPriors) -> None:
    for file in analysis.results.files:
        if file.kind is ResultKind.SR and analysis.refusal is None:
            earlier.add(file.path)


def _keep_formats(analysis: Analysis, formats: tuple[str, ...]) -> None:
    """A refusal's report is always kept: a series without a result must say why."""
    for file in analysis.results.files:
        said = analysis.refusal is not None and file.kind is ResultKind.SR
        if file.kind.value not in formats and not said:
            file.path.unlink()


def _formats(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [part for part in chosen if part not in FORMATS]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{text!r}: this version writes {', '.join(FORMATS)}")
    return chosen
