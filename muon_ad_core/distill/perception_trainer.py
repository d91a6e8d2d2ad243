# SPDX-License-Identifier: Apache-2.0
"""Trains a teacher's perception to have features like SqueezeNet 1.1's: representation alignment (Yu et al., 2025).

The micro teacher's own features, learned from 1,200 pictures, brought strokes no nearer; those of convolutions a sixth
of its size, aligned with a network that has seen a million, do.
SqueezeNet measures in training only and is not part of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from muon_ad_core.distill.features import load_feature_network
from muon_ad_core.distill.muon import Muon
from muon_ad_core.distill.pictures import PhotoFolder, to_tensor
from muon_ad_core.distill.training import TrainingRun
from muon_ad_core.errors import UserError
from muon_ad_core.nets.perception import TAPS, Perception

SCALE_BATCHES = 12
"""Measure how large and how varied the features are."""
CHECKING_BATCHES = 12
"""Measure what the averaged network misses of them."""
LEAST_VARIANCE = 0.1
"""Of a channel by its tap's mean: errors of channels that hardly ever answer must not count most."""
MOST_NOISE = 0.3
"""Standard deviation of the noise of the noisiest picture, in [-1, 1]: pictures in the making have some."""
GRADIENT_NORM = 10.0
LEAST_SIZE = 64
"""Pixels along a side: below it the last stage has hardly a place."""


@dataclass(frozen=True)
class PerceptionTraining:
    """Recipe of a run.

    Attributes:
        steps: length of the run in updates; 0 when `minutes` sets it.
        minutes: time budget; 0 when `steps` sets the length.
        batch: square crops of `size` pixels an update.
        learning_rate: peak rate of Muon's updates, in AdamW's scale.
        ema: decay of the weights' moving average, which is what is exported.
        seed: everything random follows from it.
        bfloat16: compute in bfloat16 (CPUs with AMX or AVX512-BF16 and GPUs).
    """

    steps: int = 0
    minutes: float = 0.0
    batch: int = 8
    size: int = 128
    learning_rate: float = 3e-3
    ema: float = 0.998
    seed: int = 0
    bfloat16: bool = False


class PerceptionTrainer(TrainingRun[Perception]):
    """One run; `advance()` makes one update, `save()` and `load()` interrupt and continue it exactly."""

    def __init__(self, folders: Sequence[Path], features: Path, recipe: PerceptionTraining) -> None:
        """`folders` are drawn from equally often; features: SqueezeNet 1.1 weights.

        Raises UserError for a bad recipe, a folder without pictures, or weights that are not there.
        """
        if recipe.size < LEAST_SIZE:
            raise UserError(f"crops must have at least {LEAST_SIZE} pixels, not {recipe.size}")
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.folders = [PhotoFolder(folder) for folder in folders]
        self._wanted = load_feature_network(features)
        self._scales = dict.fromkeys(TAPS, 1.0)
        self._variances: dict[int, Tensor] = {}
        self._measure()
        network = Perception().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        matrices = [parameter for parameter in network.parameters() if parameter.ndim == 4]
        biases = [parameter for parameter in network.parameters() if parameter.ndim == 1]
        optimizer = Muon(
            [{"params": matrices, "relative_rate": 1.0}, {"params": biases, "use_muon": False, "relative_rate": 0.5}],
            lr=recipe.learning_rate,
            newton_schulz_dtype=torch.bfloat16 if recipe.bfloat16 else torch.float32,
        )
        super().__init__(network, optimizer, recipe.learning_rate, recipe.steps, recipe.minutes, recipe.ema)

    def update(self) -> dict[str, float]:
        errors = self._errors(self.network, np.random.default_rng([self.recipe.seed, self.step]))
        self.optimizer.zero_grad()
        sum(errors.values(), torch.zeros(())).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        self.samples += self.recipe.batch
        return {name: float(error.detach()) for name, error in errors.items()}

    @torch.no_grad()
    def missed(self) -> dict[str, float]:
        """Share of the features' variance that the averaged network misses, by tap, on crops drawn apart."""
        random = np.random.default_rng([self.recipe.seed, 0, 1])
        batches = [self._errors(self.average, random) for _ in range(CHECKING_BATCHES)]
        return {name: fmean(float(errors[name]) for errors in batches) for name in batches[0]}

    def _errors(self, network: Perception, random: np.random.Generator) -> dict[str, Tensor]:
        """Of a batch that is drawn, by tap."""
        pictures = self._draw(random)
        wanted = self._features(pictures)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            found = network(pictures)
        return {f"tap_{tap}": self._error(tap, found[tap].float(), wanted[tap]) for tap in TAPS}

    def _error(self, tap: int, found: Tensor, wanted: Tensor) -> Tensor:
        """Mean over channels of the squared difference by the channel's variance; 1 for their means alone."""
        variance = self._variances[tap]
        return ((found - wanted).square().mean(dim=(0, 2, 3)) / (variance + LEAST_VARIANCE * variance.mean())).mean()

    def _draw(self, random: np.random.Generator) -> Tensor:
        """Crops (B, 3, S, S) in [-1, 1], some of them noisy."""
        folders = random.integers(len(self.folders), size=self.recipe.batch)
        crops = to_tensor([self.folders[index].draw_at_any_scale(self.recipe.size, random) for index in folders])
        spread = MOST_NOISE * random.random((len(crops), 1, 1, 1), dtype=np.float32) ** 3
        noise = random.standard_normal(crops.shape, dtype=np.float32) * spread
        return (crops + torch.from_numpy(noise)).clamp(-1, 1).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _features(self, pictures: Tensor) -> dict[int, Tensor]:
        """What SqueezeNet finds, by tap, in units of the tap's root mean square."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            found = self._wanted(pictures, TAPS)
        return {tap: found[tap].float() / self._scales[tap] for tap in TAPS}

    def _measure(self) -> None:
        """Root mean square of every tap, and the variance (C,) of its channels in this unit."""
        random = np.random.default_rng(self.recipe.seed)
        batches = [self._features(self._draw(random)) for _ in range(SCALE_BATCHES)]
        for tap in TAPS:
            features = torch.cat([batch[tap] for batch in batches])
            self._scales[tap] = float(features.square().mean().sqrt())
            self._variances[tap] = features.var(dim=(0, 2, 3)) / self._scales[tap] ** 2
