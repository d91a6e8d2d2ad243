# SPDX-License-Identifier: Apache-2.0
"""Trains a DetectorNet on a lesson (boxes or teachers' maps): seeded, resumable, by steps or by a time budget."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from muon_ad_core.distill.detector_lessons import Batch, Lesson, Outputs
from muon_ad_core.distill.muon import Muon
from muon_ad_core.distill.training import TrainingRun
from muon_ad_core.errors import UserError
from muon_ad_core.nets.detector import INPUT_BLOCK, DetectorNet, DetectorShape, location_rows
from muon_ad_core.nets.student import pack_pixels

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


class DetectorTrainer(TrainingRun[DetectorNet]):
    """One run; `advance()` makes one update, `save()` and `load()` interrupt and continue it exactly."""

    def __init__(self, shape: DetectorShape, lesson: Lesson, recipe: DetectorTraining) -> None:
        """Raises UserError for a bad recipe."""
        if recipe.size % 32 or recipe.start_size % 32 or not 0 < recipe.start_size <= recipe.size:
            raise UserError(
                f"training input sizes must be growing multiples of 32, not {recipe.start_size} to {recipe.size}."
            )
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.lesson = lesson
        network = DetectorNet(shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Guesses a teacher's features from the network's; only training needs it.
        self.adapter = nn.Linear(shape.pyramid, lesson.feature_width) if lesson.feature_width else None
        optimizer = _optimizer(network, list(self.adapter.parameters()) if self.adapter else [], recipe)
        super().__init__(network, optimizer, recipe.learning_rate, recipe.steps, recipe.minutes, recipe.ema)

    @property
    def size(self) -> int:
        """Side of the training input at this point of the run."""
        recipe = self.recipe
        stages = (recipe.size - recipe.start_size) // 32 + 1
        return recipe.start_size + 32 * min(stages - 1, int(self.progress * stages))

    def identity(self) -> dict[str, Any]:
        return self.network.shape.as_dict()

    def parts(self) -> dict[str, nn.Module]:
        return {"adapter": self.adapter} if self.adapter else {}

    def update(self) -> dict[str, float]:
        batch = self.lesson.batch(self.recipe.seed, self.step, self.recipe.batch, self.size, self.progress)
        losses = self.losses(batch, self.network)
        self.optimizer.zero_grad()
        losses["total"].backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        self.samples += self.recipe.batch
        return {name: float(value.detach()) for name, value in losses.items()}

    def start_from(self, network: DetectorNet) -> None:
        """Take over the weights of a network of the same shape."""
        self.network.load_state_dict(network.state_dict())
        self.average.load_state_dict(network.state_dict())

    def losses(self, batch: Batch, network: DetectorNet) -> dict[str, Tensor]:
        """The lesson's losses of a network of this shape on a batch, by name; "total" is what is minimised."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            features = network.features(pack_pixels(batch.pixels, INPUT_BLOCK))
            class_logits, bin_logits = network.heads(features)
            guess = self.adapter(location_rows(features)).float() if self.adapter else None
        return batch.losses(Outputs(class_logits.float(), bin_logits.float(), guess))


def checkpoint_shape(file: Path) -> DetectorShape:
    """The shape of the network in a checkpoint. Raises UserError when it cannot be read."""
    try:
        return DetectorShape.from_dict(torch.load(file, weights_only=True, mmap=True)["identity"])
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
