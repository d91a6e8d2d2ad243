# SPDX-License-Identifier: Apache-2.0
"""A teacher by name: the built-in one, its random-weight control, a package, or a diffusers folder or hub id."""

from __future__ import annotations

from pathlib import Path

from muon_ad_core.distill.fast_bfloat16 import has_fast_bfloat16
from muon_ad_core.distill.teachers.base import Teacher
from muon_ad_core.distill.teachers.micro import load_micro_teacher, random_teacher
from muon_ad_core.engine.package import MANIFEST, find_engine
from muon_ad_core.errors import EngineError

BUILT_IN = "teacher"
RANDOM = "random"
PIPELINE_FILE = "model_index.json"


def load_teacher(name: str, bfloat16: bool | None = None, seed: int = 0) -> Teacher:
    """Load what `name` says; raises UserError with what to do when it cannot be had.

    name: "teacher" (built in), another package's name or folder, "random" (a control without training, drawn by
    `seed`), a folder in diffusers' layout, or a hub id such as owner/name. bfloat16: None where the processor computes
    it fast.
    """
    fast = has_fast_bfloat16() if bfloat16 is None else bfloat16
    if name == RANDOM:
        return random_teacher(seed=seed, bfloat16=fast)
    folder = Path(name).expanduser()
    is_package = (folder / MANIFEST).is_file()
    if (folder / PIPELINE_FILE).is_file() or ("/" in name and not folder.exists()):
        from muon_ad_core.distill.teachers.diffusion import load_diffusion_teacher

        return load_diffusion_teacher(name, bfloat16=fast)
    try:
        return load_micro_teacher(folder if is_package else find_engine(name), fast)
    except EngineError as error:
        if name == BUILT_IN and not is_package:
            raise EngineError(
                "the built-in teacher is not installed: make one by 'muon-ad train teacher', or name one by --teacher"
            ) from error
        raise
