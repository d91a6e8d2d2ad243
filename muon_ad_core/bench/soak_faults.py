# SPDX-License-Identifier: Apache-2.0
"""The faults of a soak run: what is done to the joint task, and by when it must deliver again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from muon_ad_core.bench.load import HOGS, load
from muon_ad_core.bench.task_session import TaskSession

RECOVERY_S = 2.0
SIZES = ((640, 480), (320, 240), (480, 360))
HOME_SIZE = "640x480"  # which the camera begins with
ENGINES = {"style_transfer": "student", "detector": "detector_pruned"}
CLOCK_STEPS = (-30.0, -0.2, 0.2, 30.0)  # seconds
VICTIMS = ("style_transfer", "detector", "camera")


@dataclass(frozen=True)
class Fault:
    """`inflict` does it and returns what was done in words."""

    name: str
    inflict: Callable[[TaskSession, random.Random], str]


def kill(session: TaskSession, chance: random.Random) -> str:
    """A process ends without warning."""
    name = chance.choice(VICTIMS)
    _signal(session, name, signal.SIGKILL)
    return name


def hang(session: TaskSession, chance: random.Random) -> str:
    """A process stops running without ending; the watchdog has to notice."""
    name = chance.choice(VICTIMS)
    _signal(session, name, signal.SIGSTOP)
    return name


def reload_engine(session: TaskSession, chance: random.Random) -> str:
    """A worker swaps its engine."""
    node = chance.choice(sorted(ENGINES))
    session.ask("load_engine", node=node, engine=ENGINES[node])
    return node


def change_style(session: TaskSession, chance: random.Random) -> str:
    """Another style, blend and strength."""
    styles = session.ask("styles")["styles"]
    values = {
        "style": chance.choice(styles),
        "style_b": chance.choice(styles),
        "blend": round(chance.random(), 2),
        "strength": round(chance.random(), 2),
    }
    session.ask("set", node="style_transfer", values=values)
    return str(values)


def change_resolution(session: TaskSession, chance: random.Random) -> str:
    """The camera is set up anew with pictures of another size."""
    width, height = chance.choice(SIZES)
    for transition in ("deactivate", "cleanup"):
        session.ask("transition", node="camera", transition=transition)
    session.ask("set", node="camera", values={"width": width, "height": height})
    for transition in ("configure", "activate"):
        session.ask("transition", node="camera", transition=transition)
    return f"{width}x{height}"


def drop_out(session: TaskSession, chance: random.Random) -> str:
    """The camera delivers nothing for a while."""
    seconds = chance.uniform(0.5, 2.0)
    session.ask("set", node="camera", values={"drop": 1.0})
    session.pause(seconds)
    session.ask("set", node="camera", values={"drop": 0.0})
    return f"{seconds:.1f} s"


def step_clock(session: TaskSession, chance: random.Random) -> str:
    """The camera's clock jumps."""
    offset = chance.choice(CLOCK_STEPS)
    session.ask("set", node="camera", values={"clock_offset": offset})
    return f"to {offset:+g} s"


def burst(session: TaskSession, chance: random.Random) -> str:
    """Other programs take the machine for a while."""
    kind = chance.choice(sorted(HOGS))
    with load(kind):
        session.pause(chance.uniform(1.0, 3.0))
    return kind


FAULTS = (
    Fault("kill", kill),
    Fault("hang", hang),
    Fault("reload_engine", reload_engine),
    Fault("change_style", change_style),
    Fault("change_resolution", change_resolution),
    Fault("drop_out", drop_out),
    Fault("step_clock", step_clock),
    Fault("burst", burst),
)


def picture_size_after(fault: Fault, detail: str, before: str) -> str:
    """What size the camera's pictures have after `fault`, in whose words it was `detail`, as "640x480"."""
    if fault.inflict is change_resolution:
        return detail
    return HOME_SIZE if began_camera_anew(fault, detail) else before


def began_camera_anew(fault: Fault, detail: str) -> bool:
    """Whether `fault`, in whose words it was `detail`, puts a new process in the place of the camera's."""
    return fault.inflict in (kill, hang) and detail == "camera"


def _signal(session: TaskSession, name: str, number: int) -> None:
    """Send a signal to a node, once it runs."""
    deadline = time.monotonic() + 30.0
    while (pid := session.pids()[name]) is None and time.monotonic() < deadline:
        session.step(0.05)
    if pid is not None:
        os.kill(pid, number)
