# SPDX-License-Identifier: Apache-2.0
"""The newest-frame mailbox: nothing queues up, every superseded item is counted."""

import threading

from muon_ad_core.realtime.mailbox import Mailbox


def test_the_newest_item_wins_and_the_older_is_handed_back() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.put(1) is None
    assert mailbox.put(2) == 1
    assert mailbox.put(3) == 2
    assert mailbox.superseded == 2
    assert mailbox.take(0.0) == 3
    assert mailbox.take(0.0) is None


def test_nudge_wakes_without_an_item() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.nudge()
    assert mailbox.take(60.0) is None
    mailbox.put(1)
    assert mailbox.take(60.0) == 1


def test_close_returns_what_was_left_and_refuses_more() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    assert mailbox.close() == 1
    assert mailbox.put(2) == 2
    assert mailbox.take(60.0) is None
    assert mailbox.superseded == 0


def test_between_threads_every_item_is_taken_or_superseded() -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def take_all() -> None:
        while not mailbox.closed:
            item = mailbox.take(1.0)
            if item is not None:
                taken.append(item)

    thread = threading.Thread(target=take_all)
    thread.start()
    for number in range(5000):
        mailbox.put(number)
    left = mailbox.close()
    thread.join()
    assert taken == sorted(taken)
    assert len(taken) + mailbox.superseded + (left is not None) == 5000


def test_waiting_leaves_the_item_for_a_newer_one_to_replace() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert not mailbox.wait(timeout=0.0)
    mailbox.put(1)
    assert mailbox.wait(timeout=10.0)
    assert mailbox.put(2) == 1
    assert mailbox.take(timeout=0.0) == 2
    mailbox.close()
    assert not mailbox.wait(timeout=10.0)
