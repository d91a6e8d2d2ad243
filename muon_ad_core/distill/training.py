# SPDX-License-Identifier: Apache-2.0
"""What every training run of a network shares: length, learning rate, averaged weights, and exact interruption."""

from __future__ import annotations

import copy
import math
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from muon_ad_core.errors import UserError

WARM_UP_STEPS = 150  # at most; a tenth of a shorter run
Network = TypeVar("Network", bound=nn.Module)


class TrainingRun(ABC, Generic[Network]):
    """One seeded run; `advance()` makes one update, `save()` and `load()` interrupt and continue it exactly.

    network: what is trained. optimizer: its groups hold `relative_rate`. steps or minutes: the length, one of them 0;
    with minutes the learning rate falls with elapsed training time. ema: decay of the weights' moving average.
    Raises UserError unless exactly one length is given.
    """

    def __init__(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        learning_rate: float,
        steps: int = 0,
        minutes: float = 0.0,
        ema: float = 0.999,
    ) -> None:
        if bool(steps) == bool(minutes):
            raise UserError("give the length of the training either in steps or in minutes.")
        self.network = network
        self.average: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.steps, self.minutes, self.ema = steps, minutes, ema
        self.step = 0
        self.seconds = 0.0
        self.samples = 0  # training examples seen, counted by update()

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""
        if self.steps:
            return self.step / self.steps
        return min(1.0, self.seconds / (60 * self.minutes))

    @abstractmethod
    def update(self) -> dict[str, float]:
        """Compute losses, their gradients and the optimiser's step; returns the losses by name."""

    def advance(self) -> dict[str, float]:
        """One update at this point's learning rate; returns the losses by name."""
        started = time.monotonic()
        rate = self._rate()
        for group in self.optimizer.param_groups:
            for key in ("lr", "adamw_lr"):
                if key in group:
                    group[key] = rate * group["relative_rate"]
        losses = self.update()
        self.step += 1
        self._update_average()
        self.seconds += time.monotonic() - started
        return losses

    def run(self, after_step: Callable[[dict[str, float]], None]) -> None:
        """Advance to the end of the run; `after_step` gets each step's losses."""
        while self.progress < 1:
            after_step(self.advance())

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to go on in this run, as plain values."""
        return {}

    def parts(self) -> dict[str, nn.Module]:
        """Further modules that a checkpoint holds."""
        return {}

    def further_state(self) -> dict[str, Any]:
        """What else a checkpoint holds: plain values and tensors, for `load_further_state`."""
        return {}

    def load_further_state(self, state: dict[str, Any]) -> None:
        """Go on from `further_state`."""

    def save(self, file: Path) -> None:
        """Write the whole state, atomically."""
        state = {
            "identity": self.identity(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "parts": {name: part.state_dict() for name, part in self.parts().items()},
            "optimizer": self.optimizer.state_dict(),
            "further": self.further_state(),
            "step": self.step,
            "seconds": self.seconds,
            "samples": self.samples,
        }
        part = file.with_suffix(".part")
        torch.save(state, part)
        part.replace(file)

    def load(self, file: Path) -> None:
        """Continue from a state written by save(). Raises UserError when it cannot be read or does not fit."""
        try:
            state = torch.load(file, weights_only=True)
            if state["identity"] != self.identity():
                raise UserError(f"checkpoint {file} is of another network shape: train it with the same options.")
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            for name, part in self.parts().items():
                part.load_state_dict(state["parts"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.load_further_state(state["further"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(f"cannot resume from {file}, it is damaged: delete it to start again.") from error
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.samples = state["samples"]

    def _rate(self) -> float:
        """Warm-up, then cosine from the peak to a fiftieth of it."""
        warm_up = min(WARM_UP_STEPS, max(1, self.steps // 10)) if self.steps else WARM_UP_STEPS
        warm = min(1.0, (self.step + 1) / warm_up)
        return self.learning_rate * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * self.progress)) / 2)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = self.ema * (1 - math.exp(-self.step / 300))
        for averaged, current in zip(self.average.state_dict().values(), self.network.state_dict().values()):
            if averaged.dtype.is_floating_point:
                averaged.lerp_(current, 1 - decay)
            else:
                averaged.copy_(current)
