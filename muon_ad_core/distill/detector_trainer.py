# SPDX-License-Identifier: Apache-2.0
"""Trains a DetectorNet on COCO-format sets: seeded, resumable, by steps or by a time budget."""

from __future__ import annotations

import copy
import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from muon_ad_core.distill.detector_data import Augmenter, PictureCache, View
from muon_ad_core.distill.detector_loss import BoxTargets, detection_loss
from muon_ad_core.distill.muon import Muon
from muon_ad_core.errors import UserError
from muon_ad_core.nets.detector import DetectorNet, DetectorShape, grid_locations

WARM_UP_STEPS = 150  # at most; a tenth of a shorter run
GRADIENT_NORM = 10.0
LAST_WITHOUT_MOSAIC = 0.12  # of the run: ends on pictures like those the detector will see


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
        mosaic: share of mosaics among the training views.
        ema: decay of the weights' moving average, which is what is evaluated and exported.
        seed: everything random follows from it.
        bfloat16: compute convolutions in bfloat16 (CPUs with AMX or AVX512-BF16 and GPUs).
    """

    steps: int = 0
    minutes: float = 0.0
    batch: int = 16
    size: int = 320
    start_size: int = 224
    optimizer: str = "muon"
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    mosaic: float = 0.5
    ema: float = 0.999
    seed: int = 0
    bfloat16: bool = False


class DetectorTrainer:
    """One training run; `advance()` makes one update, `save()` and `load()` interrupt and continue it exactly."""

    def __init__(self, shape: DetectorShape, caches: Sequence[PictureCache], recipe: DetectorTraining) -> None:
        """caches: data sets; each picture of each is seen equally often. Raises UserError for a bad recipe."""
        if bool(recipe.steps) == bool(recipe.minutes):
            raise UserError("give the length of the training either in steps or in minutes.")
        if recipe.size % 32 or recipe.start_size % 32 or not 0 < recipe.start_size <= recipe.size:
            raise UserError(
                f"training input sizes must be growing multiples of 32, not {recipe.start_size} to {recipe.size}."
            )
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.caches = caches
        self.network = DetectorNet(shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = _optimizer(self.network, recipe)
        self.step = 0
        self.seconds = 0.0
        self._members = [(cache, index) for cache in caches for index in range(len(cache))]

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
        """One update; returns its losses {"total", "score", "box", "bins"}."""
        started = time.monotonic()
        size = self.size
        pictures, targets = self._batch(size)
        rate = self._rate()
        for group in self.optimizer.param_groups:
            for key in ("lr", "adamw_lr"):
                if key in group:
                    group[key] = rate * group["relative_rate"]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            class_logits, bin_logits = self.network(pictures)
        centres, strides = grid_locations(size, size)
        losses = detection_loss(class_logits, bin_logits, targets, centres, strides, self.network.shape.bins)
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
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        part = file.with_suffix(".part")
        torch.save(state, part)
        part.replace(file)

    def load(self, file: Path) -> None:
        """Continue from a state written by save(). Raises UserError when it cannot be read or does not fit."""
        try:
            state = torch.load(file, weights_only=True)
            if DetectorShape.from_dict(state["shape"]) != self.network.shape:
                raise UserError(f"checkpoint {file} is of another network shape: train it with the same options.")
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(f"cannot resume from {file}, it is damaged: delete it to start again.") from error
        self.step = state["step"]
        self.seconds = state["seconds"]

    def _rate(self) -> float:
        """Warm-up, then cosine from the peak to a fiftieth of it."""
        warm_up = min(WARM_UP_STEPS, max(1, self.recipe.steps // 10)) if self.recipe.steps else WARM_UP_STEPS
        warm = min(1.0, (self.step + 1) / warm_up)
        return self.recipe.learning_rate * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * self.progress)) / 2)

    def _batch(self, size: int) -> tuple[Tensor, list[BoxTargets]]:
        """Views of this step: a fresh random permutation each epoch, random numbers from (seed, step) alone."""
        recipe = self.recipe
        augmenter = Augmenter(size, recipe.mosaic if self.progress < 1 - LAST_WITHOUT_MOSAIC else 0.0)
        rng = np.random.default_rng((recipe.seed, self.step))
        views = []
        for position in range(self.step * recipe.batch, (self.step + 1) * recipe.batch):
            epoch, place = divmod(position, len(self._members))
            order = np.random.default_rng((recipe.seed, epoch, 1)).permutation(len(self._members))
            cache, index = self._members[order[place]]
            views.append(augmenter.view(cache, index, rng))
        pixels = torch.from_numpy(np.stack([view.picture for view in views]))
        return pixels.permute(0, 3, 1, 2).float().div_(255), [_targets(view) for view in views]

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = self.recipe.ema * (1 - math.exp(-self.step / 300))
        for averaged, current in zip(self.average.state_dict().values(), self.network.state_dict().values()):
            if averaged.dtype.is_floating_point:
                averaged.lerp_(current, 1 - decay)
            else:
                averaged.copy_(current)


def _targets(view: View) -> BoxTargets:
    return BoxTargets(
        torch.from_numpy(view.boxes),
        torch.from_numpy(view.labels),
        torch.from_numpy(view.scores),
        torch.from_numpy(view.crowd),
        torch.from_numpy(view.labelled),
    )


def _optimizer(network: DetectorNet, recipe: DetectorTraining) -> torch.optim.Optimizer:
    """Convolution weights by the chosen optimiser; heads, biases and normalisation by AdamW without decay."""
    heads = {id(network.class_head.weight), id(network.box_head.weight)}
    matrices = [p for p in network.parameters() if p.ndim > 1 and id(p) not in heads]
    others = [p for p in network.parameters() if p.ndim <= 1 or id(p) in heads]
    if recipe.optimizer == "muon":
        groups = [
            {"params": matrices, "weight_decay": recipe.weight_decay, "relative_rate": 1.0},
            {"params": others, "use_muon": False, "relative_rate": 0.5},
        ]
        return Muon(groups, lr=recipe.learning_rate)
    if recipe.optimizer == "adamw":
        groups = [
            {"params": matrices, "weight_decay": recipe.weight_decay, "relative_rate": 1.0},
            {"params": others, "weight_decay": 0.0, "relative_rate": 0.5},
        ]
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    raise UserError(f'unknown optimizer "{recipe.optimizer}": choose muon or adamw.')
