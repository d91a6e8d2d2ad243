# SPDX-License-Identifier: Apache-2.0
"""From a trained micro teacher, and its perception, to their package: weights, manifest and model card."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from muon_ad_core.compress.export import count_macs
from muon_ad_core.distill.perception_trainer import PerceptionTrainer
from muon_ad_core.distill.teacher_trainer import TeacherTrainer
from muon_ad_core.distill.teachers.micro import PERCEPTION_WEIGHTS, WEIGHTS
from muon_ad_core.engine.package import WRITTEN_BY_WRITE_PACKAGE, EnginePackage, write_package

CARD = "README.md"
PERCEPTION_FIELD = "perception"
"""Of the manifest: what the perception is and how it was trained, where there is one."""
VGA = (480, 640)


def write_teacher_package(trainer: TeacherTrainer, target: Path, version: str, note: str, error: float) -> None:
    """Write the averaged network (float16) into the folder `target`.

    note: origin and licences of the pictures. error: mean training error at the end, for the card;
    nan where no step was taken.
    """
    target.mkdir(parents=True, exist_ok=True)
    network = trainer.average
    _save(network, target / WEIGHTS)
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


def add_perception(trainer: PerceptionTrainer, teacher: EnginePackage, target: Path, version: str, note: str) -> None:
    """Write a teacher's attentions with the averaged perception (float16) into the folder `target`.

    note: origin and licences of the pictures.
    """
    attentions = teacher.path(WEIGHTS).read_bytes()  # before anything is written: the target may be the same folder
    target.mkdir(parents=True, exist_ok=True)
    (target / WEIGHTS).write_bytes(attentions)
    network = trainer.average
    _save(network, target / PERCEPTION_WEIGHTS)
    fields = {name: value for name, value in teacher.manifest.items() if name not in WRITTEN_BY_WRITE_PACKAGE}
    fields |= {
        "name": target.name,
        "version": version,
        PERCEPTION_FIELD: {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "macs": count_macs(network, {"picture": torch.zeros(1, 3, *VGA)}),
            "training": {
                "command": "muon-ad train perception",
                "pictures": [len(folder.paths) for folder in trainer.folders],
                "steps_done": trainer.step, "crops_seen": trainer.samples, "hours": round(trainer.seconds / 3600, 2),
                "note": note, **asdict(trainer.recipe),
            },
            "missed": {name: round(share, 3) for name, share in trainer.missed().items()},
        },
    }  # fmt: skip
    (target / CARD).write_text(_model_card(fields), encoding="utf-8")
    write_package(target, fields, [WEIGHTS, PERCEPTION_WEIGHTS, CARD])


def _save(network: nn.Module, file: Path) -> None:
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, file)


def _model_card(fields: dict[str, Any]) -> str:
    training, level = fields["training"], fields["levels"][0]
    error = fields["metrics"].get("training_error", "not measured")
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

    muon-ad train teacher --images FOLDER... {_length(training)} --run DIR
{_perception(fields[PERCEPTION_FIELD]) if PERCEPTION_FIELD in fields else ""}
## Limits
A small network that has seen few pictures: its attentions know strokes, edges and palettes, not objects. It matches
texture to texture, so that a face may get the strokes of a sky.
"""


def _perception(about: dict[str, Any]) -> str:
    """What the card tells of the perception."""
    training = about["training"]
    missed = ", ".join(f"{share:g}" for share in about["missed"].values())
    return f"""
## Perception
Beside the U-Net, {about["parameters"]:,} parameters of convolutions ({about["macs"] / 1e9:.1f} GMAC at 640x480) see
what is finer than its tokens. They were trained to have features like those of SqueezeNet 1.1 (ImageNet, BSD-3-Clause),
which is not part of the package: {training["steps_done"]:,} steps, {training["crops_seen"]:,} crops of
{training["size"]} x {training["size"]} pixels, some of them noisy, {training["hours"]} hours, from folders of
{", ".join(f"{count:,}" for count in training["pictures"])} pictures, drawn equally often. Muon for convolutions, AdamW
for biases; weights averaged. Share of the features' variance that they miss, at 1/2, 1/4, 1/8 and 1/16 of
the resolution: {missed}.
{training["note"] or "Where the pictures come from was not noted."}

    muon-ad train perception --images FOLDER... --features squeezenet1_1.safetensors {_length(training)} --run DIR
"""


def _length(training: dict[str, Any]) -> str:
    return f"--minutes {training['minutes']:g}" if training["minutes"] else f"--steps {training['steps']}"
