# SPDX-License-Identifier: Apache-2.0
"""What the optimiser needs of a teacher: pictures to latents and back, and attentions at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from muon_ad_core.distill.attention import Attention
from muon_ad_core.distill.feature_distribution import FeatureNetwork
from muon_ad_core.errors import ParameterError

SITES_BY_DEFAULT = 6


class Teacher(ABC):
    """A frozen generative network whose self-attentions tell style and content.

    Attributes:
        name: for logs and results.
        stride: sides of pictures must be multiples of this.
        sites: names of the self-attentions in execution order.
        target: what is best optimised: "pyramid" (pixels at several scales) or "latent".
        perception: convolutional features of a picture, whose distribution tells style; None for a teacher that has its
            attentions alone.
    """

    name: str
    stride: int
    sites: tuple[str, ...]
    target: str
    perception: FeatureNetwork | None = None

    @property
    def default_sites(self) -> tuple[int, ...]:
        """Indices of the style-bearing self-attentions: the last ones of the decoder."""
        return tuple(range(len(self.sites)))[-SITES_BY_DEFAULT:]

    @abstractmethod
    def encode(self, picture: Tensor) -> Tensor:
        """Latents (B, C, h, w) of pictures (B, 3, H, W) in [-1, 1]; differentiable."""

    @abstractmethod
    def decode(self, latent: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), about [-1, 1], of latents; differentiable."""

    @abstractmethod
    def features(self, latent: Tensor, time: float, sites: Sequence[int]) -> list[Attention]:
        """Attentions at the sites (ascending indices) for latents seen at a time in 0..1 (1: pure noise)."""

    @abstractmethod
    def times(self, steps: int) -> list[float]:
        """The time of every step of an optimisation."""

    def check_sites(self, sites: Sequence[int]) -> tuple[int, ...]:
        """Sorted site indices, negative ones counted from the end; raises ParameterError for one out of range."""
        count = len(self.sites)
        for site in sites:
            if not -count <= site < count:
                raise ParameterError(
                    f"teacher {self.name} has self-attentions 0 to {count - 1}: {site} is none of them"
                )
        if not sites:
            raise ParameterError(f"name at least one of the {count} self-attentions of teacher {self.name}")
        return tuple(sorted({site % count for site in sites}))
