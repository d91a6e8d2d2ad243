# SPDX-License-Identifier: Apache-2.0
"""Plays recorded messages in a thread: waits for each one's instant; pause, step and speed change from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from muon_ad_core.errors import UserError
from muon_ad_core.sources.bag import BagMessage
from muon_ad_core.sources.playback import PlaybackClock


class PlaybackThread:
    """Hands each message to `play(message, play time in ns)` when its play time has come.

    `tick(play time in ns)` is called before every message, and between them at `tick_rate()` Hz; never when that is 0.
    At the end `ended` is called with None, or with the UserError that ended it; not when the thread is stopped.
    """

    def __init__(
        self,
        messages: Iterator[BagMessage],
        clock: PlaybackClock,
        play: Callable[[BagMessage, int], None],
        tick: Callable[[int], None],
        tick_rate: Callable[[], float],
        ended: Callable[[UserError | None], None],
    ) -> None:
        self._messages = messages
        self._clock = clock
        self._play, self._tick, self._tick_rate, self._ended = play, tick, tick_rate, ended
        self._condition = threading.Condition()
        self._stopping = False
        self._steps = 0
        self._next_tick = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="playback", daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def pause(self, paused: bool) -> None:
        """Pause, or go on."""
        with self._condition:
            (self._clock.pause if paused else self._clock.resume)(time.monotonic_ns())
            self._condition.notify()

    def step(self) -> bool:
        """While paused and not at the end, play the next message; returns whether that is so."""
        with self._condition:
            possible = self._clock.paused and self._thread.is_alive()
            self._steps += possible
            self._condition.notify()
            return possible

    def set_rate(self, rate: float) -> None:
        """Go on at another speed."""
        with self._condition:
            self._clock.set_rate(rate, time.monotonic_ns())
            self._condition.notify()

    def _run(self) -> None:
        try:
            for message in self._messages:
                with self._condition:
                    play_ns = self._clock.admit(message.stamp_ns, message.round)
                    if not self._wait_until(play_ns):
                        return
                if self._tick_rate() > 0.0:
                    self._tick(self._clock.play_time(time.monotonic_ns()))
                self._play(message, play_ns)
        except UserError as error:
            self._ended(error)
        else:
            self._ended(None)

    def _wait_until(self, play_ns: int) -> bool:
        """Wait for a play time, holding the condition; False when the thread is being stopped."""
        while not self._stopping:
            if self._steps and self._clock.paused:
                self._steps -= 1
                self._clock.step(play_ns)
            now_ns = time.monotonic_ns()
            self._tick_if_due(now_ns)
            due_ns = self._clock.due(play_ns)
            if due_ns is not None and due_ns <= now_ns:
                return True
            self._condition.wait(self._time_to_sleep(now_ns, due_ns))
        return False

    def _time_to_sleep(self, now_ns: int, due_ns: int | None) -> float | None:
        """Seconds until the message or the next tick is due; None when neither will be by itself."""
        instants = [due_ns / 1e9] if due_ns is not None else []
        if self._tick_rate() > 0.0:
            instants.append(self._next_tick)
        return max(0.0, min(instants) - now_ns / 1e9) if instants else None

    def _tick_if_due(self, now_ns: int) -> None:
        now, rate = now_ns / 1e9, self._tick_rate()
        if rate > 0.0 and now >= self._next_tick:
            self._tick(self._clock.play_time(now_ns))
            self._next_tick = max(self._next_tick + 1.0 / rate, now)
