"""A queue as a node has it: arrivals shaped like a hospital's day, equal servers, urgent ones first.

A server that works on a study finishes it; of those that wait the urgent ones come first, then the oldest.
That is an M(t)/G/c queue with two classes of non-preemptive priority; with a flat day and the right service
times it is M/M/c or M/D/c, whose waiting times are known (:func:`erlang_c`).
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY_SECONDS = 86400.0
HOUR_SECONDS = 3600.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Peak:
    """A rise of the arrivals: a normal curve around ``hour``, ``width_hours`` wide (one sigma)."""

    hour: float
    width_hours: float
    height: float


@dataclass(frozen=True)
class DayShape:
    """How the arrivals of a day are spread: a constant night and peaks over it, in relative numbers.

    The default is an assumption, no hospital's record: outpatients before noon, a second wave after it, and
    emergencies all night. Its busiest hour has about two and a half times the mean of the day.
    """

    night: float = 0.3
    peaks: tuple[Peak, ...] = (Peak(10.5, 1.7, 2.2), Peak(15.0, 2.0, 1.6))

    def relative_rate(self, hours: Floats) -> Floats:
        """Arrivals a time unit at these hours of the day, relative to the day's mean."""
        grid = np.linspace(0.0, 24.0, 1441)
        mean = np.trapezoid(self._raw(grid), grid) / 24.0
        return np.asarray(self._raw(hours) / mean)

    def busiest(self) -> float:
        """The busiest minute's rate over the day's mean."""
        return float(self.relative_rate(np.linspace(0.0, 24.0, 1441)).max())

    def arrivals(self, studies: float, days: int, random: np.random.Generator) -> Floats:
        """Arrival times in seconds of ``days`` days with ``studies`` each on average (Poisson, thinned)."""
        top = self.busiest() * studies / DAY_SECONDS
        number = random.poisson(top * DAY_SECONDS * days)
        times = np.sort(random.uniform(0.0, DAY_SECONDS * days, number))
        keep = random.uniform(0.0, self.busiest(), number) < self.relative_rate(times / HOUR_SECONDS % 24.0)
        return times[keep]

    def _raw(self, hours: Floats) -> Floats:
        total = np.full_like(hours, self.night)
        for peak in self.peaks:
            apart = np.abs(hours - peak.hour)
            apart = np.minimum(apart, 24.0 - apart)
            total += peak.height * np.exp(-0.5 * (apart / peak.width_hours) ** 2)
        return total


FLAT = DayShape(night=1.0, peaks=())


def simulate(arrivals: Floats, services: Floats, urgent: NDArray[np.bool_], servers: int) -> Floats:
    """Waiting time of each study in seconds, from its arrival until a server takes it.

    Parameters
    ----------
    arrivals:
        Times in seconds, ascending.
    services:
        Seconds that each keeps a server.
    urgent:
        Which go before the others.
    servers:
        How many work at once.
    """
    waits = np.zeros(len(arrivals))
    waiting: tuple[deque[int], deque[int]] = (deque(), deque())
    busy: list[float] = []
    times, lasts, classes = arrivals.tolist(), services.tolist(), (~urgent).astype(int).tolist()

    def take(one: int, now: float) -> None:
        waits[one] = now - times[one]
        heapq.heappush(busy, now + lasts[one])

    for index, now in enumerate(times):
        while busy and busy[0] <= now:
            freed = heapq.heappop(busy)
            if queue := waiting[0] or waiting[1]:
                take(queue.popleft(), freed)
        if len(busy) < servers:
            take(index, now)
        else:
            waiting[classes[index]].append(index)
    while queue := waiting[0] or waiting[1]:
        take(queue.popleft(), heapq.heappop(busy))
    return waits


def service_seconds(mean: float, variation: float, number: int, random: np.random.Generator) -> Floats:
    """Log-normal times of this mean and coefficient of variation; all alike for 0."""
    if variation == 0:
        return np.full(number, mean)
    sigma = math.sqrt(math.log1p(variation**2))
    return random.lognormal(math.log(mean) - sigma**2 / 2, sigma, number)


def erlang_c(servers: int, load: float) -> float:
    """Probability that a study has to wait in M/M/c (A. K. Erlang 1917); ``load`` is in servers.

    By the recursion of Erlang B, which doesn't overflow.
    """
    if not 0 <= load < servers:
        raise ValueError(f"a load of {load:g} needs more than {servers} servers")
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1.0 - load / servers * (1.0 - blocked))
