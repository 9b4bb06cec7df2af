"""How many workers and receivers a number of studies a day needs: a simulation, fed with measured costs.

    python -m benchmarks.queueing [--studies 100 10000 1000000] [--worker-seconds 10.1] [--within 300]

Studies arrive as :class:`~benchmarks.queue_model.DayShape` says; the smallest number of workers is looked for
with which 99 of 100 studies are analyzed ``--within`` seconds after they are complete. Costs are those of one
series on the machine of docs/scale.md; give your own, from `python -m benchmarks.capacity` and
`python -m benchmarks.cluster`. Prints the table of docs/scale.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.queue_model import DAY_SECONDS, DayShape, Floats, service_seconds, simulate

MINIMUM_ARRIVALS = 40_000
"""As many days are simulated as give so many studies: a percentile needs them."""

QUICK_MAXIMUM = 100_000
RECEIVER_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Costs:
    """What one study costs.

    Parameters
    ----------
    worker_seconds:
        How long it keeps a worker.
    variation:
        Coefficient of variation of that, log-normal: studies have more or fewer slices.
    receiver_seconds:
        Processor time of a receiving process; it uses one core.
    image_mb, result_mb:
        What arrives, and what is kept and delivered.
    urgent_share:
        Share of urgent studies.
    """

    worker_seconds: float
    variation: float
    receiver_seconds: float
    image_mb: float
    result_mb: float
    urgent_share: float


@dataclass(frozen=True)
class Plan:
    """What a number of studies a day needs, and what it gets then; times in seconds."""

    studies: int
    workers: int
    mean_use: float
    busiest_use: float
    latencies: tuple[float, float, float]
    urgent_99: float
    one_less_99: float
    receivers: int
    peak_mb_a_second: float
    disk_gb_a_day: float


def plan(studies: int, costs: Costs, shape: DayShape, within: float, simulated: int) -> Plan:
    """The smallest number of workers and receivers for ``studies`` a day.

    Parameters
    ----------
    within:
        Seconds from complete to analyzed that 99 of 100 studies must keep.
    simulated:
        Studies a day that are simulated; where fewer than ``studies``, workers are scaled up with them.
    """
    random = np.random.default_rng(2024)
    scale = studies / simulated
    days = max(1, math.ceil(MINIMUM_ARRIVALS / simulated))
    arrivals = shape.arrivals(simulated, days, random)
    services = service_seconds(costs.worker_seconds, costs.variation, len(arrivals), random)
    urgent = random.uniform(size=len(arrivals)) < costs.urgent_share

    def latency(workers: int) -> Floats:
        return simulate(arrivals, services, urgent, workers) + services

    def ninety_nine(workers: int) -> float:
        return float(np.quantile(latency(workers), 0.99))

    load = simulated * costs.worker_seconds / DAY_SECONDS
    workers = _smallest(lambda count: ninety_nine(count) <= within, math.ceil(load))
    found = latency(workers)
    receiving = np.full(len(arrivals), costs.receiver_seconds)
    nobody = np.zeros(len(arrivals), dtype=bool)
    receivers = _smallest(
        lambda count: (
            float(np.quantile(simulate(arrivals, receiving, nobody, count), 0.99)) <= RECEIVER_WAIT_SECONDS
        ),
        math.ceil(simulated * costs.receiver_seconds / DAY_SECONDS),
    )
    return Plan(
        studies=studies,
        workers=math.ceil(workers * scale),
        mean_use=load / workers,
        busiest_use=load * shape.busiest() / workers,
        latencies=tuple(float(value) for value in np.quantile(found, (0.5, 0.95, 0.99))),  # type: ignore[arg-type]
        urgent_99=float(np.quantile(found[urgent], 0.99)) if urgent.any() else math.nan,
        one_less_99=ninety_nine(workers - 1) if workers > 1 else math.inf,
        receivers=math.ceil(receivers * scale),
        peak_mb_a_second=studies * shape.busiest() * (costs.image_mb + costs.result_mb) / DAY_SECONDS,
        disk_gb_a_day=studies * (costs.image_mb + costs.result_mb) / 1000,
    )


def _smallest(is_enough: Callable[[int], bool], least: int) -> int:
    """The smallest number from ``least`` on that is enough; more are never worse."""
    low, step = max(1, least), 1
    if is_enough(low):
        return low
    high = low + step
    while not is_enough(high):
        low, step = high, step * 2
        high += step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, nargs="+", default=[100, 10_000, 1_000_000], help="a day")
    parser.add_argument(
        "--worker-seconds", type=float, default=10.1, help="of a series (default: %(default)s)"
    )
    parser.add_argument("--variation", type=float, default=0.4, help="of these, sigma / mean")
    parser.add_argument("--receiver-seconds", type=float, default=0.9, help="processor time of a series")
    parser.add_argument("--image-mb", type=float, default=82.0)
    parser.add_argument("--result-mb", type=float, default=49.1)
    parser.add_argument("--urgent-share", type=float, default=0.1)
    parser.add_argument("--within", type=float, default=300.0, help="seconds, for 99 of 100 studies")
    parser.add_argument(
        "--quick", action="store_true", help=f"simulate at most {QUICK_MAXIMUM} studies a day, scale the rest"
    )
    given = parser.parse_args()
    costs = Costs(
        given.worker_seconds,
        given.variation,
        given.receiver_seconds,
        given.image_mb,
        given.result_mb,
        given.urgent_share,
    )
    shape = DayShape()
    print(
        f"A worker takes {costs.worker_seconds:g} s a series, a receiver {costs.receiver_seconds:g} s; "
        f"{costs.image_mb:g} MB come, {costs.result_mb:g} MB go; the busiest minute has "
        f"{shape.busiest():.1f} times the mean; {100 * costs.urgent_share:g} % are urgent.\n"
    )
    print(
        "| studies a day | workers | busy on average, at the peak | latency 50 %, 95 %, 99 % | urgent 99 % | "
        "99 % with one worker less | receivers | network at the peak | disk a day |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for studies in given.studies:
        simulated = min(studies, QUICK_MAXIMUM) if given.quick else studies
        print(_row(plan(studies, costs, shape, given.within, simulated)), flush=True)


def _row(one: Plan) -> str:
    latencies = ", ".join(f"{value:.0f}" for value in one.latencies)
    fewer = "-" if math.isinf(one.one_less_99) else f"{one.one_less_99:.0f} s"
    return (
        f"| {one.studies:,} | {one.workers} | {one.mean_use:.0%}, {one.busiest_use:.0%} | {latencies} s | "
        f"{one.urgent_99:.0f} s | {fewer} | {one.receivers} | {one.peak_mb_a_second:,.1f} MB/s | "
        f"{one.disk_gb_a_day:,.0f} GB |"
    )


if __name__ == "__main__":
    main()
