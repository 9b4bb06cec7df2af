"""measure an archive: many CT series into one table, resumable

Every CT series below the folders is measured as `dicomnode analyze` does. OUT gets

  cohort.csv, cohort.parquet   one row a measured series; columns are the measurements' names
  not_measured.csv             refused and failed series with their reasons, files that can't be read
  journal.sqlite               what is done: run the same command again after any interruption
  results/                     SEG, SR and overview of each series, with --keep-results

A series is named by a pseudonym (`series`) that stays the same; --identifiers adds patient and UIDs.

Examples:
  dicomnode cohort archive/ --out cohort
  dicomnode cohort archive/2020 archive/2021 --out cohort --jobs 4 --identifiers
  dicomnode cohort archive/ --out cohort --cluster 192.0.2.11:6379
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pydantic import ValidationError

from dicomnode.cluster.choice import make_supervisor
from dicomnode.cluster.supervisor import ClusterSupervisor
from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.identifiers import read_identity
from dicomnode.cohort.journal import Journal, Outcome, State, Work
from dicomnode.cohort.meter import Meter
from dicomnode.cohort.recipe import recipe_of
from dicomnode.cohort.scan import scan
from dicomnode.cohort.workers import Workers
from dicomnode.cohort.writing import CSV_NAME, NOT_MEASURED_NAME, PARQUET_NAME, parquet_is_there, write_tables
from dicomnode.commands.common import CommandError
from dicomnode.config import Config, load_config
from dicomnode.config_sections import Analysis as AnalysisSettings
from dicomnode.supervisor import Supervisor, WorkerError
from dicomnode.terminal import progress_bars

JOURNAL_NAME, LOCK_NAME = "journal.sqlite", "lock"
MINIMUM_FREE_BYTES = 1 << 30
TABLE_SECONDS = 600.0
"""So often the tables are written while the work goes on."""

LINE_SECONDS = 60.0
"""So often a line tells the progress where there is no terminal to draw a bar on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    settings = AnalysisSettings()
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="folder with DICOM files, searched to the bottom"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="OUT", help="folder for tables and journal"
    )
    parser.add_argument(
        "--model", default=settings.model, help="one of `dicomnode models` (default: %(default)s)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs"
    )
    parser.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="series analyzed at once (default: 1; in a cluster as many as it has places for)",
    )
    parser.add_argument(
        "--cluster", default="", metavar="ADDRESS", help="HOST:PORT of a Ray cluster whose workers to use"
    )
    parser.add_argument(
        "--cluster-cpus",
        type=float,
        default=settings.cluster_cpus,
        metavar="N",
        help="CPUs of a worker in the cluster, besides a GPU where it has some (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_positive,
        default=int(settings.timeout_seconds),
        metavar="SECONDS",
        help="longest time for one series (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-results", action="store_true", help="keep SEG, SR and overview of each series"
    )
    parser.add_argument(
        "--identifiers", action="store_true", help="patient, dates, UIDs and folder in the tables"
    )
    parser.add_argument("--retry", action="store_true", help="analyze failed series again")


def run(arguments: argparse.Namespace) -> int:
    """Measure what isn't measured yet; 1 when a series failed, a file is damaged or nothing was measured."""
    for folder in arguments.folders:
        if not folder.is_dir():
            raise CommandError(f"there is no folder {folder}")
    if arguments.out.suffix.lower() == ".csv":
        raise CommandError(f"--out is a folder; the table will be {arguments.out.with_suffix('') / CSV_NAME}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(arguments.out), closing(Journal(arguments.out / JOURNAL_NAME)) as journal:
            return _run(arguments, journal)
    except CohortError as error:
        raise CommandError(str(error)) from error


def _run(arguments: argparse.Namespace, journal: Journal) -> int:
    config_sha256 = Config(analysis=AnalysisSettings(model=arguments.model)).analysis_sha256()
    recipe = recipe_of(arguments.model, config_sha256)
    _look_for_series(arguments, journal)
    keep = arguments.out / "results" if arguments.keep_results else None
    work = journal.work(recipe, retry=arguments.retry, keep=keep)
    if not parquet_is_there():
        print("no Parquet without pyarrow: pip install 'dicomnode[cohort]'", file=sys.stderr)
    analyzed, interrupted = 0, ""
    try:
        for _ in _analyze(arguments, journal, work, recipe, config_sha256):
            analyzed += 1
    except KeyboardInterrupt:
        interrupted = "interrupted"
    except CohortError as error:
        interrupted = str(error)
    write_tables(journal, recipe, arguments.out, identifiers=arguments.identifiers)
    status = _tell(arguments, journal, recipe, analyzed)
    if interrupted:
        left = len(work) - analyzed
        raise CommandError(f"{interrupted}; {left} series are left, the same command goes on with them")
    return status


def _look_for_series(arguments: argparse.Namespace, journal: Journal) -> None:
    with warnings.catch_warnings(), progress_bars() as bars:
        warnings.simplefilter("ignore")  # pydicom's quote the values that it finds odd, and are kept for ever
        task = bars.add_task("looking for series", total=None)
        scan(
            arguments.folders,
            journal,
            without=arguments.out,
            watch=lambda files: bars.update(task, description=f"looking for series: {files} files"),
        )
        if not arguments.identifiers:
            journal.forget_identities()
            return
        bars.update(task, description="reading identifiers")
        with journal.transaction():
            for one in journal.without_identity():
                journal.record_identity(one, read_identity(journal.paths(one.series)))


def _analyze(
    arguments: argparse.Namespace, journal: Journal, work: Sequence[Work], recipe: str, config_sha256: str
) -> Iterator[Outcome]:
    """Analyze series, each recorded before it is handed on."""
    if not work:
        return
    supervisors = _supervisors(arguments, len(work))
    meter = Meter(work)
    with _shown(meter) as show:

        def watch(one: Work, stage: str, fraction: float) -> None:
            meter.watch(one, stage, fraction)
            show()

        workers = Workers(supervisors, arguments.out, config_sha256, keep=arguments.keep_results, watch=watch)
        written = time.monotonic()
        with closing(workers.analyze(work, journal.paths)) as outcomes:
            for one, outcome in outcomes:
                if outcome.state is State.FAILED:
                    _check_surroundings(arguments)
                journal.record(one, recipe, outcome)
                meter.finish(one, outcome)
                show()
                yield outcome
                if time.monotonic() - written > TABLE_SECONDS:
                    write_tables(journal, recipe, arguments.out, identifiers=arguments.identifiers)
                    written = time.monotonic()


def _supervisors(arguments: argparse.Namespace, most: int) -> list[Supervisor]:
    """One for each series that is analyzed at once, at most ``most``.

    Raises
    ------
    CohortError
        If the cluster can't be reached or has no place at all.
    """
    try:
        settings = AnalysisSettings(
            model=arguments.model,
            device=arguments.device,
            timeout_seconds=arguments.timeout,
            runtime=load_config(None).analysis.runtime,
            cluster=arguments.cluster,
            cluster_cpus=arguments.cluster_cpus,
        )
    except ValidationError as error:
        raise CohortError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    first = make_supervisor(settings)
    jobs = arguments.jobs or 1
    if isinstance(first, ClusterSupervisor):
        try:
            places = first.capacity()
        except WorkerError as error:
            raise CohortError(str(error)) from error
        jobs = arguments.jobs or places
        if places == 0:
            raise CohortError(f"no machine of the cluster has {arguments.cluster_cpus:g} CPUs for a worker")
    jobs = min(jobs, most)
    if jobs > 1 and not arguments.cluster:  # else each worker would take all cores
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return [first, *(make_supervisor(settings) for _ in range(jobs - 1))]


def _check_surroundings(arguments: argparse.Namespace) -> None:
    """A disk that is full or gone fails every series; none of them is to blame."""
    for folder in arguments.folders:
        if not folder.is_dir():
            raise CohortError(f"the folder {folder} can't be read any more")
    if shutil.disk_usage(arguments.out).free < MINIMUM_FREE_BYTES:
        raise CohortError(f"less than {MINIMUM_FREE_BYTES >> 30} GB is free at {arguments.out}")


@contextmanager
def _shown(meter: Meter) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, now and then a line elsewhere, in the log of a night perhaps."""
    if sys.stderr.isatty():
        with progress_bars() as bars:
            task = bars.add_task(meter.in_words(), total=1.0)
            yield lambda: bars.update(task, completed=meter.fraction, description=meter.in_words())
        return
    told = time.monotonic()

    def tell() -> None:
        nonlocal told
        if time.monotonic() - told > LINE_SECONDS:
            told = time.monotonic()
            print(meter.in_words(), file=sys.stderr, flush=True)

    yield tell


def _tell(arguments: argparse.Namespace, journal: Journal, recipe: str, analyzed: int) -> int:
    """The last lines, and the exit status that they mean."""
    number = {state: journal.count(recipe, state) for state in State}
    damaged = sum(1 for _ in journal.damaged())
    passed_over = journal.passed_over()
    counts = ", ".join(f"{number[state]} {state}" for state in State)
    print(f"CT series: {counts}; {analyzed} analyzed in this run, the others before")
    if passed_over:
        modalities = ", ".join(f"{modality} {count}" for modality, count in passed_over.items())
        print(f"series of other modalities, passed over: {modalities}")
    if damaged:
        print(f"files that can't be read and may be missing slices: {damaged}")
    out = arguments.out
    tables = [out / CSV_NAME, *([out / PARQUET_NAME] if (out / PARQUET_NAME).exists() else [])]
    print(f"measured: {', '.join(map(str, tables))}")
    print(f"not measured: {out / NOT_MEASURED_NAME}")
    if number[State.FAILED]:
        print("failed series are analyzed again with --retry")
    if not sum(number.values()):
        print("there is no finished CT series")
    return 1 if number[State.FAILED] or damaged or not number[State.MEASURED] else 0


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Two runs on one journal would analyze the same series twice."""
    with (out / LOCK_NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CohortError(f"another dicomnode cohort is writing to {out}") from error
        yield


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
