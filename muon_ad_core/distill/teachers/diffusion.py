# SPDX-License-Identifier: Apache-2.0
"""Stable Diffusion as teacher, through diffusers: UNets (SD 1.5, SDXL) and MMDiTs (SD 3), safetensors only.

Latents are not noised and the text is empty, as in attention distillation's reference setting (Zhou et al., 2025).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from muon_ad_core.distill.attention import Attention, capture_attentions, execution_order
from muon_ad_core.distill.teachers.base import Teacher
from muon_ad_core.distill.teachers.conditioning import Conditioning, empty_text, zero_text
from muon_ad_core.errors import EngineError, UserError

TRAINING_STEPS = 1000
Call = Callable[[nn.Module, Tensor, Tensor, Conditioning], object]


class DiffusionTeacher(Teacher):
    """A latent diffusion network with its autoencoder.

    network: UNet2DConditionModel or SD3Transformer2DModel; autoencoder: AutoencoderKL; text: embeddings of no text.
    The networks are frozen; bfloat16 is for the network only.
    """

    target = "latent"

    def __init__(
        self, network: nn.Module, autoencoder: nn.Module, text: Conditioning, name: str, bfloat16: bool = False
    ) -> None:
        self._call, self.sites = describe_network(network)
        modules = dict(network.named_modules())
        self._modules = [modules[name] for name in self.sites]
        self._network = network.eval().requires_grad_(False).to(torch.bfloat16 if bfloat16 else torch.float32)
        config: Any = autoencoder.config
        self._autoencoder: Any = autoencoder.eval().requires_grad_(False)
        self._text = text
        self._scale = float(config.scaling_factor)
        self._offset = float(getattr(config, "shift_factor", None) or 0.0)
        self.name = name
        depth = len(config.block_out_channels) - 1
        self.stride = 2**depth * _latent_stride(network)

    def encode(self, picture: Tensor) -> Tensor:
        return (self._autoencoder.encode(picture).latent_dist.mode() - self._offset) * self._scale

    def decode(self, latent: Tensor) -> Tensor:
        return self._autoencoder.decode(latent / self._scale + self._offset).sample

    def times(self, steps: int) -> list[float]:
        """From much noise to little, as DDIM goes: one time a step."""
        return [1.0 - (step + 1) / (steps + 1) for step in range(steps)]

    def features(self, latent: Tensor, time: float, sites: Sequence[int]) -> list[Attention]:
        dtype = next(self._network.parameters()).dtype
        timestep = torch.full((len(latent),), round(time * (TRAINING_STEPS - 1)), device=latent.device)
        text = self._text.for_batch(len(latent), dtype)
        modules = [self._modules[site] for site in sites]
        return capture_attentions(modules, lambda: self._call(self._network, latent.to(dtype), timestep, text))


def describe_network(network: nn.Module) -> tuple[Call, tuple[str, ...]]:
    """How to call a diffusers network, and its self-attentions by name in execution order.

    The order is found by running a copy without memory (meta device). Raises EngineError for an unknown network.
    """
    kind = type(network).__name__
    if kind not in KINDS:
        raise EngineError(f"{kind} is no known backbone: use a pipeline with {' or '.join(KINDS)}")
    call, is_site = KINDS[kind]
    config: Any = network.config
    with torch.device("meta"):
        hollow = type(network).from_config(config)  # type: ignore[attr-defined]
        side = 8 * _latent_stride(network)
        latent, timestep = torch.empty(1, config["in_channels"], side, side), torch.empty(1, dtype=torch.long)
        text = zero_text(config)
    modules = {name: module for name, module in hollow.named_modules() if is_site(name)}
    return call, tuple(execution_order(modules, lambda: call(hollow, latent, timestep, text)))


def load_diffusion_teacher(name: str, bfloat16: bool = False) -> DiffusionTeacher:
    """Load a local folder in diffusers' layout or a hub id; only safetensors. Raises UserError when it cannot be."""
    if importlib.util.find_spec("diffusers") is None:
        raise UserError(f"teacher {name} needs diffusers: pip install diffusers transformers")
    import diffusers

    try:
        index = _pipeline_index(name)
        part = "transformer" if "transformer" in index else "unet"
        backbone = getattr(diffusers, index[part][1])
        options: dict[str, Any] = {"use_safetensors": True, "torch_dtype": torch.float32}
        network = backbone.from_pretrained(name, subfolder=part, **options)
        autoencoder = diffusers.AutoencoderKL.from_pretrained(name, subfolder="vae", **options)
    except (OSError, KeyError, ValueError, AttributeError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EngineError(
            f"{name} cannot be loaded as a Stable Diffusion pipeline with safetensors weights ({reason}): check the "
            "folder, or the hub id and the network"
        ) from error
    return DiffusionTeacher(network, autoencoder, empty_text(name, index, network.config), name, bfloat16)


def _pipeline_index(name: str) -> dict[str, Any]:
    file = Path(name).expanduser() / "model_index.json"
    if not file.is_file():
        from huggingface_hub import hf_hub_download

        file = Path(hf_hub_download(name, "model_index.json"))
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _latent_stride(network: nn.Module) -> int:
    """Sides of latents must be multiples of this."""
    config: Any = network.config
    return config["patch_size"] if "patch_size" in config else 2 ** (len(config["block_out_channels"]) - 1)


def _call_unet(network: nn.Module, latent: Tensor, timestep: Tensor, text: Conditioning) -> object:
    added = None
    if text.pooled is not None:
        side = [8.0 * latent.shape[2], 8.0 * latent.shape[3]]
        # Original size, crop corner and target size, as SDXL was trained.
        sizes = torch.tensor([[*side, 0.0, 0.0, *side]], dtype=text.pooled.dtype, device=latent.device)
        added = {"text_embeds": text.pooled, "time_ids": sizes.expand(len(latent), -1)}
    return network(latent, timestep, text.tokens, added_cond_kwargs=added)


def _call_mmdit(network: nn.Module, latent: Tensor, timestep: Tensor, text: Conditioning) -> object:
    return network(latent, text.tokens, text.pooled, timestep)


KINDS: dict[str, tuple[Call, Callable[[str], bool]]] = {
    "UNet2DConditionModel": (_call_unet, lambda name: name.endswith(".attn1")),
    "SD3Transformer2DModel": (
        _call_mmdit,
        lambda name: name.startswith("transformer_blocks.") and name.endswith(".attn"),
    ),
}
