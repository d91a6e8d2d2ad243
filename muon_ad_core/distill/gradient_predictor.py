# SPDX-License-Identifier: Apache-2.0
"""Gradient prediction: a tiny network that stands in for some backward passes while it is right (paper, "GPN").

Two of every five gradients are predicted from the latent, the time and the EMA of gradients, as long as the running
cosine between predictions and true gradients is at least 0.5; the network learns from every true gradient. Its baseline
extrapolates momentum: the EMA itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from muon_ad_core.distill.gradient_geometry import cosine
from muon_ad_core.distill.muon_latent import rms
from muon_ad_core.distill.update_rules import AdamRule, State

KINDS = ("network", "momentum")
PERIOD, PREDICTED = 5, 2
"""The last PREDICTED steps of every PERIOD are predicted."""
WARM_UP = 10
"""True gradients seen before the first prediction is used."""


class PredictionNetwork(nn.Module):
    """Latent (B, C, H, W), its gradients' EMA and the time (0..1) in; a correction of the EMA (B, C, H, W) out.

    Latent and EMA come in with RMS 1. The last layer starts at zero: an untrained network extrapolates momentum.
    """

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels + 1, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, channels, 3, padding=1),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, latent: Tensor, ema: Tensor, time: float) -> Tensor:
        """See the class."""
        plane = torch.full_like(latent[:, :1], time)
        return ema + self.layers(torch.cat([latent, ema, plane], dim=1))


class GradientPredictor:
    """Predicts gradients of latents (each (B, C, H, W) float32), learns from true ones, and counts what it saved.

    kind: network, or momentum, its baseline; gate: least running cosine for predictions to be used; decay: EMA factor
    of gradients; rate: learning rate of the network; seed: of its first weights. Raises ValueError for an unknown kind.
    """

    def __init__(
        self,
        latents: Sequence[Tensor],
        kind: str = "network",
        gate: float = 0.5,
        decay: float = 0.7,
        rate: float = 3e-3,
        seed: int = 0,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind of prediction must be one of {', '.join(KINDS)}, got {kind}")
        self.kind, self.gate, self.decay, self.rate = kind, gate, decay, rate
        self.networks: nn.ModuleList | None = None
        if kind == "network":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.networks = nn.ModuleList(PredictionNetwork(latent.shape[1]) for latent in latents)
            self.networks.to(latents[0].device)
        self._rule_states: list[State] = []
        self._emas = [torch.zeros_like(latent, requires_grad=False) for latent in latents]
        self.seen = 0
        self.saved = 0
        self.cosine = 0.0
        self.baseline_cosine = 0.0

    @property
    def trusted(self) -> bool:
        """Whether predictions are good enough to be used."""
        return self.seen >= WARM_UP and self.cosine >= self.gate

    def replaces(self, step: int) -> bool:
        """Whether the gradient of this step is to be predicted."""
        return self.trusted and step % PERIOD >= PERIOD - PREDICTED

    def predict(self, latents: Sequence[Tensor], time: float) -> list[Tensor]:
        """Gradients in place of true ones; every one has the norm of the EMA. Counts as a saved backward pass."""
        self.saved += 1
        with torch.no_grad():
            found = self._directions(latents, time)
        return [x * (rms(ema) / rms(x).clamp(min=1e-12)) for x, ema in zip(found, self._emas, strict=True)]

    def observe(self, latents: Sequence[Tensor], time: float, gradients: Sequence[Tensor]) -> None:
        """Compare the prediction with the true gradient, learn from it, and take it into the EMA."""
        if self.seen:
            # The first few cosines count alike, later ones as in an EMA.
            share = max(1 / self.seen, 0.1)
            found = self._learn(latents, time, gradients) if self.networks else self._emas
            self.cosine += share * (_mean_cosine(found, gradients) - self.cosine)
            self.baseline_cosine += share * (_mean_cosine(self._emas, gradients) - self.baseline_cosine)
        keep = self.decay if self.seen else 0.0
        for ema, gradient in zip(self._emas, gradients, strict=True):
            ema.lerp_(gradient, 1 - keep)
        self.seen += 1

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {
            "kind": self.kind,
            "networks": None if self.networks is None else _copied(self.networks.state_dict()),
            "rules": [_copied(state) for state in self._rule_states],
            "emas": [ema.clone() for ema in self._emas],
            "counts": [self.seen, self.saved],
            "cosines": [self.cosine, self.baseline_cosine],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; raises ValueError when it is of another kind."""
        if state["kind"] != self.kind:
            raise ValueError(f"the saved state is of a predictor of kind {state['kind']}, not {self.kind}")
        if self.networks is not None:
            self.networks.load_state_dict(state["networks"])
        self._rule_states = [_copied(entry) for entry in state["rules"]]
        self._emas = [ema.clone() for ema in state["emas"]]
        self.seen, self.saved = state["counts"]
        self.cosine, self.baseline_cosine = state["cosines"]

    def _directions(self, latents: Sequence[Tensor], time: float) -> list[Tensor]:
        if self.networks is None:
            return list(self._emas)
        inputs = zip(self.networks, latents, self._emas, strict=True)
        return [network(_unit(latent.detach()), _unit(ema), time) for network, latent, ema in inputs]

    def _learn(self, latents: Sequence[Tensor], time: float, gradients: Sequence[Tensor]) -> list[Tensor]:
        """One step of Adam towards the true gradients' directions; returns the prediction before it."""
        assert self.networks is not None
        with torch.enable_grad():
            found = self._directions(latents, time)
            parts = [1 - cosine([x], [gradient]).mean() for x, gradient in zip(found, gradients, strict=True)]
            parameters = list(self.networks.parameters())
            steps = torch.autograd.grad(torch.stack(parts).mean(), parameters)
        self._rule_states = self._rule_states or [{} for _ in parameters]
        with torch.no_grad():
            for parameter, gradient, state in zip(parameters, steps, self._rule_states, strict=True):
                parameter.add_(AdamRule().change(parameter, gradient, state), alpha=self.rate)
        return [x.detach() for x in found]


def _unit(samples: Tensor) -> Tensor:
    return samples / rms(samples).clamp(min=1e-12)


def _mean_cosine(found: Sequence[Tensor], true: Sequence[Tensor]) -> float:
    return float(cosine(found, true).mean())


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()}
