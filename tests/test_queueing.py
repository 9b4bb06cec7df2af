"""The simulation of docs/scale.md gives the waiting times that queueing theory knows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.queue_model import (
    DAY_SECONDS,
    FLAT,
    DayShape,
    erlang_c,
    service_seconds,
    simulate,
)

SERVICE = 1.0


def waits(
    servers: int, use: float, services: str, number: int = 400_000, urgent: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Waiting times of a long run, and who was urgent; times are in units of the mean service."""
    random = np.random.default_rng(11)
    arrivals = np.cumsum(random.exponential(SERVICE / (servers * use), number))
    lasting = random.exponential(SERVICE, number) if services == "M" else np.full(number, SERVICE)
    first = random.uniform(size=number) < urgent
    return simulate(arrivals, lasting, first, servers), first


@pytest.mark.parametrize(("servers", "use"), [(1, 0.5), (1, 0.8), (4, 0.8), (20, 0.9)])
def test_exponential_services_wait_as_erlang_says(servers: int, use: float) -> None:
    """M/M/c: P(wait) is Erlang's C, the mean C / (c - a), and who waits, waits exponentially."""
    found, _ = waits(servers, use, "M")
    probability, spare = erlang_c(servers, servers * use), servers * (1 - use)
    assert (found > 0).mean() == pytest.approx(probability, rel=0.03)
    assert found.mean() == pytest.approx(probability / spare, rel=0.06)
    assert np.quantile(found, 0.99) == pytest.approx(np.log(probability / 0.01) / spare, rel=0.08)


@pytest.mark.parametrize("use", [0.5, 0.8])
def test_constant_services_wait_half_as_long(use: float) -> None:
    """M/D/1 by Pollaczek and Khinchine: use / (2 (1 - use))."""
    found, _ = waits(1, use, "D")
    assert found.mean() == pytest.approx(use / (2 * (1 - use)), rel=0.04)


def test_constant_services_of_many_servers() -> None:
    """M/D/c: half of M/M/c to a few percent where it is busy (G. P. Cosmetatos 1975, his correction)."""
    servers, use = 10, 0.9
    found, _ = waits(servers, use, "D")
    exponential = erlang_c(servers, servers * use) / (servers * (1 - use))
    correction = 1 + (1 - use) * (servers - 1) * (np.sqrt(4 + 5 * servers) - 2) / (16 * servers * use)
    assert found.mean() == pytest.approx(exponential / 2 * correction, rel=0.05)


def test_urgent_ones_wait_as_cobham_says() -> None:
    """M/M/1 with two classes (A. Cobham 1954): R / (1 - r1) and R / ((1 - r1)(1 - r)), R = r for mean 1."""
    use, share = 0.8, 0.25
    found, first = waits(1, use, "M", urgent=share)
    assert found[first].mean() == pytest.approx(use / (1 - use * share), rel=0.04)
    assert found[~first].mean() == pytest.approx(use / ((1 - use * share) * (1 - use)), rel=0.06)


def test_a_day_has_its_shape_and_its_number() -> None:
    random, shape = np.random.default_rng(5), DayShape()
    times = shape.arrivals(10_000, 20, random)
    assert len(times) == pytest.approx(200_000, rel=0.01)
    hourly = np.bincount((times % DAY_SECONDS // 3600).astype(int), minlength=24) / len(times) * 24
    assert hourly == pytest.approx(shape.relative_rate(np.arange(24) + 0.5), rel=0.06)
    assert 2.0 < shape.busiest() < 3.0
    assert FLAT.busiest() == pytest.approx(1.0)


def test_services_have_the_mean_and_the_variation_that_were_asked_for() -> None:
    found = service_seconds(12.0, 0.4, 400_000, np.random.default_rng(2))
    assert found.mean() == pytest.approx(12.0, rel=0.01)
    assert found.std() / found.mean() == pytest.approx(0.4, rel=0.02)
    assert set(service_seconds(12.0, 0.0, 3, np.random.default_rng(2))) == {12.0}
