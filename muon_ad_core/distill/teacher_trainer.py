# SPDX-License-Identifier: Apache-2.0
"""Trains a MicroTeacher by flow matching on folders of pictures: seeded, resumable, by steps or by a time budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from muon_ad_core.distill.muon import Muon
from muon_ad_core.distill.pictures import PhotoFolder, to_tensor
from muon_ad_core.distill.training import TrainingRun
from muon_ad_core.errors import UserError
from muon_ad_core.nets.micro_teacher import SMALLEST_TIME, MicroTeacher, MicroTeacherConfig

GRADIENT_NORM = 1.0
SCALE_CROPS = 64
SCALE_POWER = -0.6
"""Coefficients are multiplied by deviation^-0.6: coarse ones still weigh more, fine ones do not drown in noise."""


@dataclass(frozen=True)
class TeacherTraining:
    """Recipe of a run.

    Attributes:
        steps: length of the run in updates; 0 when `minutes` sets it.
        minutes: time budget; 0 when `steps` sets the length.
        batch: crops of `size` pixels an update; smaller crops come in larger batches of as many pixels.
        size: side of the square crops at the end, a multiple of the network's stride.
        start_size: side at the start; the second half of the run sees the final size.
        learning_rate: peak rate of Muon's updates, in AdamW's scale.
        weight_decay: decoupled, on matrices.
        ema: decay of the weights' moving average, which is what is exported.
        seed: everything random follows from it.
        bfloat16: compute in bfloat16 (CPUs with AMX or AVX512-BF16 and GPUs).
        network: sizes of the teacher.
    """

    steps: int = 0
    minutes: float = 0.0
    batch: int = 8
    size: int = 256
    start_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    ema: float = 0.999
    seed: int = 0
    bfloat16: bool = False
    network: MicroTeacherConfig = field(default_factory=MicroTeacherConfig)


class TeacherTrainer(TrainingRun[MicroTeacher]):
    """One run; `advance()` makes one update, `save()` and `load()` interrupt and continue it exactly."""

    def __init__(self, folders: Sequence[Path], recipe: TeacherTraining) -> None:
        """`folders` are drawn from equally often. Raises UserError for a bad recipe or a folder without pictures."""
        stride = recipe.network.stride
        if recipe.size % stride or recipe.start_size % stride or not 0 < recipe.start_size <= recipe.size:
            raise UserError(f"sizes of training crops must be growing multiples of {stride}, "
                            f"not {recipe.start_size} to {recipe.size}.")  # fmt: skip
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.folders = [PhotoFolder(folder) for folder in folders]
        network = MicroTeacher(recipe.network)
        network.scale.copy_(self._measure_scale(network))
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = Muon(
            parameter_groups(network, recipe.weight_decay),
            lr=recipe.learning_rate,
            newton_schulz_dtype=torch.bfloat16 if recipe.bfloat16 else torch.float32,
        )
        super().__init__(network, optimizer, recipe.learning_rate, recipe.steps, recipe.minutes, recipe.ema)

    @property
    def size(self) -> int:
        """Side of the crops at this point of the run."""
        return self.recipe.start_size if self.progress < 0.5 else self.recipe.size

    def identity(self) -> dict[str, Any]:
        return self.recipe.network.to_dict()

    def update(self) -> dict[str, float]:
        latent, noise, time = self._draw(self.step)
        shares = time[:, None, None, None]
        noisy = (1 - shares) * latent + shares * noise
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            guess = self.network(noisy.contiguous(memory_format=torch.channels_last), time)
        # Between the error of the picture (weight 1) and of the velocity (1/t^2), which would let the least noisy
        # pictures of a batch outvote all others.
        loss = ((guess.float() - latent).square() / shares.clamp(min=SMALLEST_TIME)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        self.samples += len(latent)
        return {"error": float(loss.detach()), "gradient": float(norm)}

    def _draw(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Clean coefficients, noise and times (B,) of a step; they depend on nothing but the seed and the step."""
        random = np.random.default_rng([self.recipe.seed, step])
        count = max(1, self.recipe.batch * self.recipe.size**2 // self.size**2)
        latent = self.network.encode(self._crops(count, self.size, random))
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        noise = torch.randn(latent.shape, generator=generator)
        # Logit-normal times: middle ones, where texture is decided, most often (Esser et al., 2024).
        return latent, noise, torch.sigmoid(torch.randn(count, generator=generator) - 0.4)

    def _crops(self, count: int, size: int, random: np.random.Generator) -> Tensor:
        folders = random.integers(len(self.folders), size=count)
        return to_tensor([self.folders[index].draw_at_any_scale(size, random) for index in folders])

    def _measure_scale(self, network: MicroTeacher) -> Tensor:
        crops = self._crops(SCALE_CROPS, self.recipe.size, np.random.default_rng(self.recipe.seed))
        deviation = network.transform(crops).std(dim=(0, 2, 3)).clamp(min=1e-3)
        scale = deviation**SCALE_POWER
        return scale / (scale * deviation).square().mean().sqrt()


def parameter_groups(network: MicroTeacher, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and convolutions of the body go to Muon; stem, head, modulation and vectors to AdamW."""
    small = {
        name for name, parameter in network.named_parameters()
        if parameter.ndim <= 1 or name.startswith(("stem", "head", "time")) or "modulation" in name or "sharp" in name
    }  # fmt: skip
    parameters = dict(network.named_parameters())
    return [
        {"params": [p for n, p in parameters.items() if n not in small], "weight_decay": weight_decay,
         "relative_rate": 1.0},
        {"params": [parameters[n] for n in sorted(small)], "use_muon": False, "relative_rate": 0.5},
    ]  # fmt: skip
