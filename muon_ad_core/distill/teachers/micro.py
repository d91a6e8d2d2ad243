# SPDX-License-Identifier: Apache-2.0
"""The built-in micro teacher as a Teacher, read from its package; with random weights it is the control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from muon_ad_core.distill.attention import Attention, capture_attentions
from muon_ad_core.distill.teachers.base import Teacher
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import EngineError
from muon_ad_core.nets.micro_teacher import MicroTeacher, MicroTeacherConfig
from muon_ad_core.nets.perception import Perception

WEIGHTS, PERCEPTION_WEIGHTS = "weights.safetensors", "perception.safetensors"
"""Of a package; one made before teachers had a perception has only the first."""
TIME = 0.4
"""Coarser than that the features forget strokes, finer they forget what a stroke belongs to."""


Network = TypeVar("Network", bound=nn.Module)


class MicroTeacherFeatures(Teacher):
    """Attention features of a MicroTeacher, and its perception's, computed in bfloat16 where `bfloat16` says so."""

    target = "pyramid"

    def __init__(
        self,
        network: MicroTeacher,
        name: str = "micro",
        bfloat16: bool = False,
        time: float = TIME,
        perception: Perception | None = None,
    ) -> None:
        self._network = _frozen(network)
        if perception is not None:
            self._perception = _frozen(perception)
            self.perception = self._perceive
        self._bfloat16 = bfloat16
        self._time = time
        self._attentions = network.attentions()
        self.name = name
        self.stride = network.config.stride
        self.sites = tuple(name for name, _ in self._attentions)

    def untrained(self, seed: int = 0) -> MicroTeacherFeatures:
        """The control of this teacher: its shape and coefficient scale with random weights."""
        return random_teacher(
            seed=seed, bfloat16=self._bfloat16, like=self._network, perceives=self.perception is not None
        )

    def encode(self, picture: Tensor) -> Tensor:
        return self._network.encode(picture)

    def decode(self, latent: Tensor) -> Tensor:
        return self._network.decode(latent)

    def times(self, steps: int) -> list[float]:
        return [self._time] * steps

    def features(self, latent: Tensor, time: float, sites: Sequence[int]) -> list[Attention]:
        modules = [self._attentions[site][1] for site in sites]
        times = torch.full((len(latent),), time, device=latent.device)
        # A clean picture at the amplitude that it has in the noisy ones of this time.
        faded = ((1 - time) * latent).contiguous(memory_format=torch.channels_last)
        with torch.autocast(latent.device.type, torch.bfloat16, enabled=self._bfloat16):
            return capture_attentions(modules, lambda: self._network.decoder_features(faded, times))

    def _perceive(self, picture: Tensor, taps: Sequence[int]) -> dict[int, Tensor]:
        with torch.autocast(picture.device.type, torch.bfloat16, enabled=self._bfloat16):
            return self._perception(picture, taps)


def read_teacher_package(folder: Path) -> EnginePackage:
    """A package of a micro teacher; raises EngineError when it is damaged or no teacher."""
    package = EnginePackage.load(folder)
    if package.task != "teacher":
        raise EngineError(f"engine {package.name} is for {package.task}, not a teacher: choose a teacher package")
    return package


def load_micro_teacher(folder: Path, bfloat16: bool = False) -> MicroTeacherFeatures:
    """Read a teacher from its package; raises EngineError when that is damaged or no teacher."""
    package = read_teacher_package(folder)
    network = MicroTeacher(MicroTeacherConfig.from_dict(package.manifest["network"]))
    network.load_state_dict(_weights(package.path(WEIGHTS)))
    perception = None
    if PERCEPTION_WEIGHTS in package.manifest["files"]:
        perception = Perception()
        perception.load_state_dict(_weights(package.path(PERCEPTION_WEIGHTS)))
    return MicroTeacherFeatures(network, package.name, bfloat16, perception=perception)


def random_teacher(
    config: MicroTeacherConfig | None = None,
    seed: int = 0,
    bfloat16: bool = False,
    like: MicroTeacher | None = None,
    perceives: bool = True,
) -> MicroTeacherFeatures:
    """The control: a teacher of the same shape with random weights. `like` lends its shape and coefficient scale;
    perceives: it has a perception.

    The convolutions that start at zero in training get random weights, too: they would switch off half the network.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = MicroTeacher(like.config if like else config)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d) and not module.weight.any():
                module.reset_parameters()
        perception = Perception() if perceives else None
    if like is not None:
        network.scale.copy_(like.scale)
    return MicroTeacherFeatures(network, f"random-{seed}", bfloat16, perception=perception)


def _weights(file: Path) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(file).items()}


def _frozen(network: Network) -> Network:
    network = network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
