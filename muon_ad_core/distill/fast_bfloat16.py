# SPDX-License-Identifier: Apache-2.0
"""Whether trainings and teachers compute in bfloat16 on this machine."""

from __future__ import annotations

from functools import cache

import torch

from muon_ad_core.machine import Machine


@cache
def has_fast_bfloat16() -> bool:
    """Whether this processor has units for bfloat16 (AVX512-BF16 or AMX); without, it is far slower than float32."""
    flags = Machine().processor_flags()
    if not flags:
        return torch.cuda.is_available()
    return "avx512_bf16" in flags or "amx_bf16" in flags
