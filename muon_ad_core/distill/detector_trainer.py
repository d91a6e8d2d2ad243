# SPDX-License-Identifier: Apache-2.0
"""Trains a DetectorNet on a lesson (boxes or teachers' maps): seeded, resumable, by steps or by a time budget."""

from __future__ import annotations

import copy
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from muon_ad_core.distill.detector_lessons import Batch, Lesson, Outputs
from muon_ad_core.distill.muon import Muon
from muon_ad_core.errors import UserError
from muon_ad_core.nets.detector import INPUT_BLOCK, DetectorNet, DetectorShape, location_rows
from muon_ad_core.nets.student import pack_pixels

WARM_UP_STEPS = 150  # at most; a tenth of a shorter run
GRADIENT_NORM = 10.0


@dataclass(frozen=True)
class DetectorTraining:
    """Recipe of a run.

    Attributes:
        steps: length of the run in updates; 0 when `minutes` sets it.
        minutes: time budget; the learning rate falls with elapsed training time. 0 when `steps` sets the length.
        batch: pictures an update.
        size: side of the square training input at the end, a multiple of 32.
        start_size: side at the start, a multiple of 32; it grows in equal parts of the run.
        optimizer: "muon" (matrices and convolutions; AdamW for the rest) or "adamw".
        learning_rate: peak rate, in AdamW's scale for both optimisers.
        weight_decay: decoupled, on convolution weights.
        ema: decay of the weights' moving average, which is what is evaluated and exported.
        seed: everything random follows from it.
        bfloat16: compute convolutions and Muon's iterations in bfloat16 (CPUs with AMX or AVX512-BF16 and GPUs).
    """

    steps: int = 0
    minutes: float = 0.0
    batch: int = 16
    size: int = 320
    start_size: int = 224
    optimizer: str = "muon"
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    ema: float = 0.999
    seed: int = 0
    bfloat16: bool = False

    def part(self, share: float) -> DetectorTraining:
        """The recipe of a share (0..1) of the run."""
        return replace(self, steps=round(share * self.steps), minutes=share * self.minutes)


class DetectorTrainer:
    """One training run; `advance()` makes one update, `save()` and `load()` interrupt and continue it exactly."""

    def __init__(self, shape: DetectorShape, lesson: Lesson, recipe: DetectorTraining) -> None:
        """Raises UserError for a bad recipe."""
        if bool(recipe.steps) == bool(recipe.minutes):
            raise UserError("give the length of the training either in steps or in minutes.")
        if recipe.size % 32 or recipe.start_size % 32 or not 0 < recipe.start_size <= recipe.size:
            raise UserError(
                f"training input sizes must be growing multiples of 32, not {recipe.start_size} to {recipe.size}."
            )
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.lesson = lesson
        self.network = DetectorNet(shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        # Guesses a teacher's features from the network's; only training needs it.
        self.adapter = nn.Linear(shape.pyramid, lesson.feature_width) if lesson.feature_width else None
        self.optimizer = _optimizer(self.network, list(self.adapter.parameters()) if self.adapter else [], recipe)
        self.step = 0
        self.seconds = 0.0

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""
        if self.recipe.steps:
            return self.step / self.recipe.steps
        return min(1.0, self.seconds / (60 * self.recipe.minutes))

    @property
    def size(self) -> int:
        """Side of the training input at this point of the run."""
        recipe = self.recipe
        stages = (recipe.size - recipe.start_size) // 32 + 1
        return recipe.start_size + 32 * min(stages - 1, int(self.progress * stages))

    def advance(self) -> dict[str, float]:
        """One update; returns the lesson's losses by name, "total" among them."""
        started = time.monotonic()
        batch = self.lesson.batch(self.recipe.seed, self.step, self.recipe.batch, self.size, self.progress)
        rate = self._rate()
        for group in self.optimizer.param_groups:
            for key in ("lr", "adamw_lr"):
                if key in group:
                    group[key] = rate * group["relative_rate"]
        losses = self.losses(batch, self.network)
        self.optimizer.zero_grad()
        losses["total"].backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        self.seconds += time.monotonic() - started
        return {name: float(value.detach()) for name, value in losses.items()}

    def run(self, after_step: Callable[[dict[str, float]], None]) -> None:
        """Advance to the end of the run; `after_step` gets each step's losses."""
        while self.progress < 1:
            after_step(self.advance())

    def save(self, file: Path) -> None:
        """Write the whole state, atomically."""
        state = {
            "shape": self.network.shape.as_dict(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "adapter": self.adapter.state_dict() if self.adapter else {},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        part = file.with_suffix(".part")
        torch.save(state, part)
        part.replace(file)

    def start_from(self, network: DetectorNet) -> None:
        """Take over the weights of a network of the same shape."""
        self.network.load_state_dict(network.state_dict())
        self.average.load_state_dict(network.state_dict())

    def load(self, file: Path) -> None:
        """Continue from a state written by save(). Raises UserError when it cannot be read or does not fit."""
        try:
            state = torch.load(file, weights_only=True)
            if DetectorShape.from_dict(state["shape"]) != self.network.shape:
                raise UserError(f"checkpoint {file} is of another network shape: train it with the same options.")
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            if self.adapter:
                self.adapter.load_state_dict(state["adapter"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(f"cannot resume from {file}, it is damaged: delete it to start again.") from error
        self.step = state["step"]
        self.seconds = state["seconds"]

    def losses(self, batch: Batch, network: DetectorNet) -> dict[str, Tensor]:
        """The lesson's losses of a network of this shape on a batch, by name; "total" is what is minimised."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            features = network.features(pack_pixels(batch.pixels, INPUT_BLOCK))
            class_logits, bin_logits = network.heads(features)
            guess = self.adapter(location_rows(features)).float() if self.adapter else None
        return batch.losses(Outputs(class_logits.float(), bin_logits.float(), guess))

    def _rate(self) -> float:
        """Warm-up, then cosine from the peak to a fiftieth of it."""
        warm_up = min(WARM_UP_STEPS, max(1, self.recipe.steps // 10)) if self.recipe.steps else WARM_UP_STEPS
        warm = min(1.0, (self.step + 1) / warm_up)
        return self.recipe.learning_rate * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * self.progress)) / 2)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = self.recipe.ema * (1 - math.exp(-self.step / 300))
        for averaged, current in zip(self.average.state_dict().values(), self.network.state_dict().values()):
            if averaged.dtype.is_floating_point:
                averaged.lerp_(current, 1 - decay)
            else:
                averaged.copy_(current)


def checkpoint_shape(file: Path) -> DetectorShape:
    """The shape of the network in a checkpoint. Raises UserError when it cannot be read."""
    try:
        return DetectorShape.from_dict(torch.load(file, weights_only=True, mmap=True)["shape"])
    except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"cannot resume from {file}, it is damaged: delete it to start again.") from error


def _optimizer(network: DetectorNet, extra: list[nn.Parameter], recipe: DetectorTraining) -> torch.optim.Optimizer:
    """Convolution weights by the chosen optimiser; heads, biases, normalisation, `extra` by AdamW without decay."""
    heads = {id(network.class_head.weight), id(network.box_head.weight)}
    matrices = [p for p in network.parameters() if p.ndim > 1 and id(p) not in heads]
    others = [p for p in network.parameters() if p.ndim <= 1 or id(p) in heads] + extra
    if recipe.optimizer == "muon":
        groups = [
            {"params": matrices, "weight_decay": recipe.weight_decay, "relative_rate": 1.0},
            {"params": others, "use_muon": False, "relative_rate": 0.5},
        ]
        precision = torch.bfloat16 if recipe.bfloat16 else torch.float32
        return Muon(groups, lr=recipe.learning_rate, newton_schulz_dtype=precision)
    if recipe.optimizer == "adamw":
        groups = [
            {"params": matrices, "weight_decay": recipe.weight_decay, "relative_rate": 1.0},
            {"params": others, "weight_decay": 0.0, "relative_rate": 0.5},
        ]
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    raise UserError(f'unknown optimizer "{recipe.optimizer}": choose muon or adamw.')
