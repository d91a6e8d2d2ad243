# SPDX-License-Identifier: Apache-2.0
"""Frames overtaken on the way are told from a clock that jumped back."""

from muon_ad_core.realtime.stamps import CLOCK_JUMPED_BACK, IN_ORDER, OUT_OF_ORDER, StampMonitor

SECOND = 1_000_000_000


def test_rising_and_equal_stamps_are_in_order() -> None:
    monitor = StampMonitor()
    assert [monitor.judge(stamp) for stamp in (0, 0, 5, 5, 9)] == [IN_ORDER] * 5


def test_an_overtaken_frame_does_not_move_the_newest_stamp() -> None:
    monitor = StampMonitor()
    judged = [monitor.judge(stamp * SECOND // 30) for stamp in (100, 102, 101, 103, 102, 104)]
    assert judged == [IN_ORDER, IN_ORDER, OUT_OF_ORDER, IN_ORDER, OUT_OF_ORDER, IN_ORDER]


def test_after_a_jump_back_frames_are_in_order_again() -> None:
    monitor = StampMonitor()
    judged = [monitor.judge(stamp * SECOND) for stamp in (50, 51, 10, 11, 12, 3, 4)]
    assert judged == [IN_ORDER, IN_ORDER, CLOCK_JUMPED_BACK, IN_ORDER, IN_ORDER, CLOCK_JUMPED_BACK, IN_ORDER]
