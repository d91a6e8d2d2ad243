# SPDX-License-Identifier: Apache-2.0
"""From a trained micro teacher to its package: weights, manifest and model card."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from muon_ad_core.compress.export import count_macs
from muon_ad_core.distill.teacher_trainer import TeacherTrainer
from muon_ad_core.distill.teachers.micro import WEIGHTS
from muon_ad_core.engine.package import write_package

CARD = "README.md"
VGA = (480, 640)


def write_teacher_package(trainer: TeacherTrainer, target: Path, version: str, note: str, error: float) -> None:
    """Write the averaged network (float16) into the folder `target`.

    note: origin and licences of the pictures. error: mean training error at the end, for the card;
    nan where no step was taken.
    """
    target.mkdir(parents=True, exist_ok=True)
    network = trainer.average
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, target / WEIGHTS)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    frame = network.encode(torch.zeros(1, 3, *VGA))
    level = {
        "name": "float16", "graph": WEIGHTS, "precision": "float16", "width": network.config.widths[0],
        "parameters": parameters, "macs": count_macs(network, {"latent": frame, "time": torch.zeros(1)}),
    }  # fmt: skip
    recipe = {key: value for key, value in asdict(trainer.recipe).items() if key != "network"}
    fields = {
        "name": target.name, "version": version, "task": "teacher",
        "description": "Micro teacher: a flow-matching U-Net whose self-attentions tell style and content.",
        "licence": "Apache-2.0", "levels": [level], "network": network.config.to_dict(),
        "training": {
            "command": "muon-ad train teacher", "pictures": [len(folder.paths) for folder in trainer.folders],
            "steps_done": trainer.step, "crops_seen": trainer.samples, "hours": round(trainer.seconds / 3600, 2),
            "note": note, **recipe,
        },
        "metrics": {"training_error": round(error, 4)} if math.isfinite(error) else {},
    }  # fmt: skip
    (target / CARD).write_text(_model_card(fields), encoding="utf-8")
    write_package(target, fields, [WEIGHTS, CARD])


def _model_card(fields: dict[str, Any]) -> str:
    training, level = fields["training"], fields["levels"][0]
    error = fields["metrics"].get("training_error", "not measured")
    length = f"--minutes {training['minutes']:g}" if training["minutes"] else f"--steps {training['steps']}"
    return f"""# {fields["name"]} {fields["version"]}

{fields["description"]} Licence: {fields["licence"]}.

{level["parameters"]:,} parameters, {level["macs"] / 1e9:.1f} GMAC at 640x480 (attention not counted). Pictures become
coefficients of an exactly invertible lapped transform; the self-attentions are in the decoder. It is made to be looked
into by `muon-ad synthesize`, not to draw pictures of its own.

## Training
Flow matching with a guess of the clean picture: {training["steps_done"]:,} steps, {training["crops_seen"]:,} crops of
up to {training["size"]} x {training["size"]} pixels, {training["hours"]} hours, from folders of
{", ".join(f"{count:,}" for count in training["pictures"])} pictures, drawn equally often. Muon for convolutions and
matrices, AdamW for the rest; weights averaged. Error at the end: {error}.
{training["note"] or "Where the pictures come from was not noted."}
No picture is part of the package.

Train again (the recipe's other values are in `manifest.json`):

    muon-ad train teacher --images FOLDER... {length} --run DIR

## Limits
A small network that has seen few pictures: its attentions know strokes, edges and palettes, not objects. It matches
texture to texture, so that a face may get the strokes of a sky.
"""
