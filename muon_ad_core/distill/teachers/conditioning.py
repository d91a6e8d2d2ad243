# SPDX-License-Identifier: Apache-2.0
"""What diffusion networks want besides a latent: the embedding of an empty text."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from muon_ad_core.errors import UserError

CLIP_TOKENS = 77


@dataclass(frozen=True)
class Conditioning:
    """Token embeddings (1, T, D) and, where the network wants it, the pooled embedding (1, P)."""

    tokens: Tensor
    pooled: Tensor | None = None

    def for_batch(self, count: int, dtype: torch.dtype) -> Conditioning:
        """The same for `count` samples."""
        tokens = self.tokens.to(dtype).expand(count, -1, -1)
        return Conditioning(tokens, None if self.pooled is None else self.pooled.to(dtype).expand(count, -1))


def zero_text(config: Mapping[str, Any]) -> Conditioning:
    """Zeros of the right shapes for a network with this configuration; SDXL's own way to say nothing."""
    if "joint_attention_dim" in config:  # MMDiT
        tokens = torch.zeros(1, CLIP_TOKENS, config["joint_attention_dim"])
        return Conditioning(tokens, torch.zeros(1, config["pooled_projection_dim"]))
    tokens = torch.zeros(1, CLIP_TOKENS, config["cross_attention_dim"])
    if config.get("addition_embed_type") != "text_time":
        return Conditioning(tokens)
    # The rest of this input are six numbers about sizes, each embedded.
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    return Conditioning(tokens, torch.zeros(1, pooled))


def empty_text(name: str, index: Mapping[str, Any], config: Mapping[str, Any]) -> Conditioning:
    """The embedding of "" by the pipeline's CLIP text encoders.

    Zeros where the pipeline says so (SDXL) or has no text encoder; SD 3's T5 part is left out, as diffusers allows.
    Raises UserError when transformers is missing.
    """
    encoders = [key for key in ("text_encoder", "text_encoder_2") if (index.get(key) or [None])[0] is not None]
    if index.get("force_zeros_for_empty_prompt") or not encoders:
        return zero_text(config)
    if importlib.util.find_spec("transformers") is None:
        raise UserError(f"the text encoder of {name} needs transformers: pip install transformers")
    import transformers

    tokens, pooled = [], []
    for key in encoders:
        encoder = getattr(transformers, index[key][1]).from_pretrained(name, subfolder=key, use_safetensors=True)
        tokenizer = transformers.CLIPTokenizer.from_pretrained(name, subfolder=key.replace("text_encoder", "tokenizer"))
        ids = tokenizer("", padding="max_length", max_length=CLIP_TOKENS, return_tensors="pt").input_ids
        with torch.no_grad():
            output = encoder.float()(ids, output_hidden_states=True)
        if "joint_attention_dim" in config:
            tokens.append(output.hidden_states[-2])
            pooled.append(output.text_embeds)
        else:
            tokens.append(output.last_hidden_state)
    joined = torch.cat(tokens, dim=-1)
    if "joint_attention_dim" in config:
        joined = F.pad(joined, (0, config["joint_attention_dim"] - joined.shape[-1]))
    return Conditioning(joined, torch.cat(pooled, dim=-1) if pooled else None)
