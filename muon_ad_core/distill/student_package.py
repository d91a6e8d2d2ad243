# SPDX-License-Identifier: Apache-2.0
"""From a trained student to the engine package that ships: graphs, style codes, weights, metrics and model card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from muon_ad_core.compress.export import export_onnx
from muon_ad_core.distill import student_graphs
from muon_ad_core.distill.pictures import PhotoFolder, list_pictures, random_crop, read_picture
from muon_ad_core.distill.student_graphs import Report, export_levels
from muon_ad_core.distill.student_trainer import StudentTrainer, StyledStudent
from muon_ad_core.engine import frame_context, softening
from muon_ad_core.engine.package import MANIFEST, EnginePackage, write_package
from muon_ad_core.errors import EngineError, UserError
from muon_ad_core.nets.student import LEVELS, StudentConfig
from muon_ad_core.nets.style_encoder import ENCODER_SIZE, PackedStyleEncoder

WEIGHTS_FILE = "weights.safetensors"
CONTEXT_FILE = "context.safetensors"
WRITTEN_BY_WRITE_PACKAGE = ("format", "format_version", "files")


def write_student_package(
    trainer: StudentTrainer,
    target: Path,
    version: str,
    validation: Path | None = None,
    pruning: Mapping[str, Any] | None = None,
    report: Report = print,
) -> None:
    """Export every level of the averaged student (INT8), the encoder and the styles into the folder `target`.

    validation: photographs on which INT8 is compared with floating point (default: the training's); pruning: for the
    manifest, what was pruned.
    """
    target.mkdir(parents=True, exist_ok=True)
    network = trainer.finished()
    codes = trainer.style_codes()
    recipe, photos = trainer.recipe, trainer.photos
    judges = _validation(validation or recipe.photos)
    levels, metrics = export_levels(
        network.student, codes, lambda: calibration_pictures(photos, recipe.seed), judges, target, report,
        softness=recipe.softness,
    )  # fmt: skip
    picture = torch.zeros(1, ENCODER_SIZE, ENCODER_SIZE, 3, dtype=torch.uint8)
    export_onnx(PackedStyleEncoder(network.encoder), {"picture": picture}, ["code"], target / "encoder.onnx")
    save_arrays(codes, target / "styles.safetensors")
    save_arrays(
        {name: value.numpy() for name, value in network.student.context.state_dict().items()}, target / CONTEXT_FILE
    )
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, target / WEIGHTS_FILE)
    fields = _manifest(trainer, target.name, version, levels, metrics)
    if pruning:
        fields["pruning"] = dict(pruning)
    (target / "README.md").write_text(_model_card(fields), encoding="utf-8")
    files = [*student_graphs.FILES, "encoder.onnx", "styles.safetensors", CONTEXT_FILE, WEIGHTS_FILE, "README.md"]
    write_package(target, fields, files)


def export_again(
    package: EnginePackage, photos: Path, target: Path, report: Report = print, fidelity: float | None = None
) -> dict[str, float]:
    """Write the graphs of a student anew from its weights, as this release writes them; all else stays as it is.

    photos: folder of photographs that set the ranges of INT8 (some hundred); target: folder of the result, which may
    be the package's own; fidelity: as of `export_levels`. Returns the metrics of INT8. Raises EngineError for a package
    without the student's weights.
    """
    student = load_student(package).student
    codes = load_arrays(package.path(package.manifest["styles_file"]))
    with tempfile.TemporaryDirectory() as folder:
        pictures, judges = PhotoFolder(photos), _validation(photos)
        levels, metrics = export_levels(
            student, codes, lambda: calibration_pictures(pictures), judges, Path(folder), report, fidelity,
            softening.softness_of(package),
        )  # fmt: skip
        target.mkdir(parents=True, exist_ok=True)
        if target.resolve() != package.root.resolve():
            for file in package.manifest["files"]:
                shutil.copyfile(package.root / file, target / file)
        for file in student_graphs.FILES:
            shutil.copyfile(Path(folder) / file, target / file)
    fields = {key: value for key, value in package.manifest.items() if key not in WRITTEN_BY_WRITE_PACKAGE}
    # Levels that were merged in have graphs of other weights.
    merged = [entry for entry in package.manifest["levels"] if entry["name"] not in LEVELS]
    fields |= {
        "levels": sorted([*levels, *merged], key=lambda entry: int(entry["macs"])),
        "metrics": {**package.manifest.get("metrics", {}), **metrics},
    }
    (target / "README.md").write_text(_model_card(fields), encoding="utf-8")
    write_package(target, fields, {*package.manifest["files"], *student_graphs.FILES, "README.md"} - {MANIFEST})
    return metrics


def load_student(package: EnginePackage) -> StyledStudent:
    """Student and style encoder in float32 from a package's weights; raises EngineError when it has none that fit."""
    if package.task != "style" or WEIGHTS_FILE not in package.manifest["files"] or "network" not in package.manifest:
        raise EngineError(
            f"engine {package.name} holds no student's weights: choose one that muon-ad train student made"
        )
    weights = {name: value.float() for name, value in load_file(package.path(WEIGHTS_FILE)).items()}
    try:
        model = StyledStudent(StudentConfig.from_dict(package.manifest["network"]), len(weights["offsets"]))
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise EngineError(
            f"{package.root / WEIGHTS_FILE} does not fit the network of this release: train the student again"
        ) from None
    return model.eval().requires_grad_(False)


def calibration_pictures(photos: PhotoFolder, seed: int = 0) -> Iterator[np.ndarray]:
    """Crops of training photographs; seeded, so that an export can be repeated."""
    random = np.random.default_rng(seed)
    for _ in range(student_graphs.CALIBRATION_FRAMES):
        yield photos.draw(student_graphs.CALIBRATION_SIDE, random)


def _validation(folder: Path) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    pictures = (read_picture(path) for path in list_pictures(folder)[:8])
    crops = [random_crop(picture, 320, (1.0, 1.0), random) for picture in pictures if picture is not None]
    if not crops:
        raise UserError(f"none of the first pictures in {folder} can be read: check the validation folder")
    return crops


def _manifest(
    trainer: StudentTrainer, name: str, version: str, levels: list[dict[str, Any]], metrics: dict[str, float]
) -> dict[str, Any]:
    styles = trainer.styles[: len(trainer.shipped)]
    network = trainer.average.student.config
    return {
        "name": name,
        "version": version,
        "task": "style",
        "description": "Distilled student: paints a frame in the style of a picture, two levels, one style code.",
        "licence": "Apache-2.0",
        "levels": levels,
        "code_length": network.code,
        "network": network.to_dict(),
        "encoder": "encoder.onnx",
        "encoder_size": ENCODER_SIZE,
        frame_context.FIELD: CONTEXT_FILE,
        softening.FIELD: trainer.recipe.softness,
        "styles_file": "styles.safetensors",
        "styles": [{"name": style.name, "artist": style.artist, "work": style.work} for style in styles],
        "training": {
            "command": "muon-ad train student",
            "photographs": len(trainer.photos.paths),
            "style_pictures": len(trainer.styles),
            "steps_done": trainer.step,
            "hours": round(trainer.seconds / 3600, 2),
            **trainer.recipe.describe(),
        },
        "metrics": metrics,
    }


def _further(training: Mapping[str, Any]) -> str:
    """What a recipe adds to its losses, for the model card."""
    parts = [
        "; Muon for convolutions, AdamW for the rest" if training.get("optimizer", "muon") == "muon" else "; AdamW"
    ]
    if training.get("weights", {}).get("attention"):
        parts.append(f"attention distillation from the teacher {training['teacher']}")
    if training.get("projection"):
        parts.append("style gradients projected where they conflict with the picture's")
    return ", ".join(parts)


def _model_card(fields: dict[str, Any]) -> str:
    styles = "\n".join(
        f"- `{s['name']}`: {s['artist'] or 'unknown artist'}, {s['work'] or s['name']}" for s in fields["styles"]
    )
    levels = "\n".join(
        f"| {level['name']} | {level['precision']} | {level['parameters']:,} | {level['macs'] / 1e9:.2f} |"
        for level in fields["levels"]
    )
    training = fields["training"]
    metrics = "\n".join(f"- {name}: {value}" for name, value in fields["metrics"].items())
    return f"""# {fields["name"]} {fields["version"]}

{fields["description"]} Licence: {fields["licence"]}.

| level | precision | parameters | GMAC at 640x480 |
|---|---|---|---|
{levels}

## Styles
{styles}

A style is a code of {fields["code_length"]} numbers.

## Training
{training["steps_done"]:,} steps on {training["photographs"]:,} photographs and {training["style_pictures"]} style
pictures; a step sees two shifted views of {training["batch"]} photographs, {training["crop"]} x {training["crop"]}
pixels. Loss: sliced Wasserstein distance of SqueezeNet 1.1's features (style), its instance-normalised features
(content), light and dark of the picture, a lattice penalty, and the difference between shifted views
(steadiness){_further(training)}.
{training["data_note"] or "Where the pictures come from was not noted."}
No picture is part of the package. `weights.safetensors` (float16) lets the training go on.

Train again (the recipe's other values are in `manifest.json`):

    muon-ad train student --photos DIR --styles DIR --extra-styles DIR --features squeezenet1_1.safetensors \\
        --ship {" ".join(style["name"] for style in fields["styles"])} \\
        --steps {training["steps_done"]} --batch {training["batch"]} --run DIR

## Metrics
{metrics}

## Limits
Colours and strokes follow the picture of the style; large forms do not. Flat areas such as sky get regular hatching in
some styles, and faint stripes along the border. Pictures that were not trained as styles (`load_style`) give their
palette and contrast more than their strokes. Text and small faces are not kept readable. Frames are expected to be
ordinary camera pictures; strong sensor noise is painted, too.
"""
