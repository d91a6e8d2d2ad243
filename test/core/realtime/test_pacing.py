# SPDX-License-Identifier: Apache-2.0
"""The rate limiter keeps the rate under jitter; the pacer does not drift."""

import random
import threading
import time

import pytest

from muon_ad_core.realtime.pacing import Pacer, RateLimiter


@pytest.mark.parametrize(("offered", "limit", "expected"), [(30, 15, 15), (30, 10, 10), (30, 0, 30), (30, 60, 30)])
def test_the_limit_holds_under_jitter(offered: float, limit: float, expected: float) -> None:
    chance = random.Random(4)
    limiter = RateLimiter(limit)
    seconds = 60
    times = [100.0 + index / offered + chance.uniform(-0.004, 0.004) for index in range(int(seconds * offered))]
    accepted = sum(limiter.accept(now) for now in times)
    assert accepted == pytest.approx(expected * seconds, rel=0.02)


def test_a_pause_is_not_made_up_for() -> None:
    limiter = RateLimiter(10.0)
    assert limiter.accept(0.0)
    burst = [limiter.accept(50.0 + index * 0.001) for index in range(50)]
    assert sum(burst) == 1


def test_deadlines_are_absolute_and_skipped_ones_reported() -> None:
    began = time.monotonic()
    pacer = Pacer(rate=100.0)
    skipped = pacer.wait()
    time.sleep(0.055)
    skipped += pacer.wait()
    skipped += sum(pacer.wait() for _ in range(3))
    periods = (time.monotonic() - began) * 100.0
    assert skipped >= 4
    assert periods >= skipped + 4 - 0.01


def test_stop_ends_a_wait_at_once() -> None:
    pacer = Pacer(rate=0.001)
    pacer.wait()
    thread = threading.Thread(target=pacer.wait)
    thread.start()
    pacer.stop()
    thread.join(timeout=30.0)
    assert not thread.is_alive()
    assert pacer.stopped
