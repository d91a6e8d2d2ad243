# SPDX-License-Identifier: Apache-2.0
"""A training run to its end, with a progress bar, a CSV log and checkpoints; `muon-ad train` uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from muon_ad_core.distill.training import TrainingRun

CHECKPOINT = "checkpoint.pt"
FOLLOWER = "follower.pt"
LOG = "log.csv"
SAVE_EVERY_SECONDS = 120.0
LOG_EVERY = 20


class Follower(Protocol):
    """What acts after each update of a run and keeps a state of its own, such as gradual pruning."""

    def after_step(self) -> None: ...

    def save(self, file: Path) -> None: ...

    def load(self, file: Path) -> None: ...


def prepare_processor(threads: int) -> None:
    """Use so many threads."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Take for zero what is too small for a normal floating-point number, in this thread.

    The momentum of a weight that has no gradient any more decays into that range within some 1,700 updates; processors
    compute with such numbers so slowly that a training took four times as long from there.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def resume_if_interrupted(trainer: TrainingRun[Any], run_folder: Path, follower: Follower | None = None) -> bool:
    """Go on from the run folder's checkpoint if there is one; makes the folder. Whether there was one."""
    run_folder.mkdir(parents=True, exist_ok=True)
    if not (run_folder / CHECKPOINT).is_file():
        return False
    trainer.load(run_folder / CHECKPOINT)
    if follower:
        follower.load(run_folder / FOLLOWER)
    return True


def train_with_progress(
    trainer: TrainingRun[Any], run_folder: Path, follower: Follower | None = None
) -> dict[str, float]:
    """Train to the end; returns the mean losses of the last steps that were logged, or the last ones of a short run."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    sums: dict[str, float] = {}
    last: dict[str, float] = {}
    with (
        denormals_flushed(),
        Progress(BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}")) as progress,
        (run_folder / LOG).open("a", encoding="utf-8") as log,
    ):
        task = progress.add_task("", total=1.0)
        saved_at = trainer.seconds

        def save() -> None:
            nonlocal saved_at
            trainer.save(run_folder / CHECKPOINT)
            if follower:
                follower.save(run_folder / FOLLOWER)
            saved_at = trainer.seconds

        def after_step(losses: dict[str, float]) -> None:
            if follower:
                follower.after_step()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value / LOG_EVERY
            if trainer.step % LOG_EVERY == 0:
                text = "  ".join(f"{name} {value:.3f}" for name, value in sums.items())
                progress.update(task, completed=trainer.progress, description=f"step {trainer.step}  {text}")
                values = ",".join(f"{value:.5f}" for value in sums.values())
                log.write(f"{trainer.step},{trainer.seconds:.0f},{values}\n")
                log.flush()
                last.update(sums)
                sums.clear()
            elif trainer.step < LOG_EVERY:
                last.update(losses)
            if trainer.seconds >= saved_at + SAVE_EVERY_SECONDS:
                save()

        trainer.run(after_step)
        save()
    return last
