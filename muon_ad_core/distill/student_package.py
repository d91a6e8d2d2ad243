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
from muon_ad_core.distill.student_graphs import NamedExit, Report, both_exits, export_levels, written_files
from muon_ad_core.distill.student_trainer import StudentTrainer, StyledStudent
from muon_ad_core.engine import finishing, frame_context, grain
from muon_ad_core.engine.frames import EDGES_FIELD
from muon_ad_core.engine.merge import WEIGHTS_FILE
from muon_ad_core.engine.model_card import model_card
from muon_ad_core.engine.package import MANIFEST, WRITTEN_BY_WRITE_PACKAGE, EnginePackage, write_package
from muon_ad_core.errors import EngineError, UserError
from muon_ad_core.nets.student import EDGES, LEVELS, StudentConfig
from muon_ad_core.nets.style_encoder import ENCODER_SIZE, PackedStyleEncoder
from muon_ad_core.palette import Palette
from muon_ad_core.style_files import Style, style_entry

CONTEXT_FILE = "context.safetensors"


def write_student_package(
    trainer: StudentTrainer,
    target: Path,
    version: str,
    validation: Path | None = None,
    pruning: Mapping[str, Any] | None = None,
    start: Mapping[str, str] | None = None,
    report: Report = print,
) -> None:
    """Export every level of the averaged student (INT8), the encoder and the styles into the folder `target`.

    validation: photographs on which INT8 is compared with floating point (default: the training's); pruning, start:
    for the manifest, what was pruned, and what the run began from.
    """
    target.mkdir(parents=True, exist_ok=True)
    network = trainer.finished()
    codes = trainer.style_codes()
    recipe, photos = trainer.recipe, trainer.photos
    judges = _validation(validation or recipe.photos)
    exits = both_exits(network.student, trainer.scales, recipe.finish)
    levels, metrics = export_levels(
        exits, codes, lambda: calibration_pictures(photos, recipe.seed), judges, target, report
    )
    picture = torch.zeros(1, ENCODER_SIZE, ENCODER_SIZE, 3, dtype=torch.uint8)
    export_onnx(PackedStyleEncoder(network.encoder), {"picture": picture}, ["code"], target / "encoder.onnx")
    save_arrays(codes, target / "styles.safetensors")
    save_arrays(
        {name: value.numpy() for name, value in network.student.context.state_dict().items()}, target / CONTEXT_FILE
    )
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, target / WEIGHTS_FILE)
    fields = _manifest(trainer, target.name, version, codes, levels, metrics)
    if pruning:
        fields["pruning"] = dict(pruning)
    fields["training"] |= start or {}
    (target / "README.md").write_text(model_card(fields), encoding="utf-8")
    files = [*written_files(exits), "encoder.onnx", "styles.safetensors", CONTEXT_FILE, WEIGHTS_FILE, "README.md"]
    write_package(target, fields, files)


def export_again(
    package: EnginePackage, photos: Path, target: Path, report: Report = print, fidelity: float | None = None
) -> dict[str, float]:
    """Write the graphs of a student anew from its weights, as this release writes them; all else stays as it is.

    photos: folder of photographs that set the ranges of INT8 (some hundred); target: folder of the result, which may
    be the package's own; fidelity: as of `export_levels`. Returns the metrics of INT8. Raises EngineError for a package
    without the student's weights.
    """
    exits = [named_exit(package, level.name) for level in package.levels]
    codes = load_arrays(package.path(package.manifest["styles_file"]))
    with tempfile.TemporaryDirectory() as folder:
        pictures, judges = PhotoFolder(photos), _validation(photos)
        levels, metrics = export_levels(
            exits, codes, lambda: calibration_pictures(pictures), judges, Path(folder), report, fidelity
        )
        target.mkdir(parents=True, exist_ok=True)
        if target.resolve() != package.root.resolve():
            for file in package.manifest["files"]:
                shutil.copyfile(package.root / file, target / file)
        for file in written_files(exits):
            shutil.copyfile(Path(folder) / file, target / file)
    fields = {key: value for key, value in package.manifest.items() if key not in WRITTEN_BY_WRITE_PACKAGE}
    before = {entry["name"]: entry for entry in package.manifest["levels"]}
    further = ("exit", "weights", "network", "pruning", "training")  # of levels that were merged in
    fields |= {
        "levels": [{**entry, **{k: v for k, v in before[entry["name"]].items() if k in further}} for entry in levels],
        "metrics": {**package.manifest.get("metrics", {}), **metrics},
        EDGES_FIELD: EDGES,
    }
    (target / "README.md").write_text(model_card(fields), encoding="utf-8")
    write_package(target, fields, {*package.manifest["files"], *written_files(exits), "README.md"} - {MANIFEST})
    return metrics


def load_student(package: EnginePackage, level: str | None = None) -> StyledStudent:
    """Student and style encoder in float32 from a package's weights; raises EngineError when it has none that fit.

    level: the student that paints it (default: the package's own, of which others may have been pruned).
    """
    file = (package.level(level).weights if level else "") or WEIGHTS_FILE
    described: Mapping[str, Any] = package.manifest
    if file != WEIGHTS_FILE:
        described = next(entry for entry in package.manifest["levels"] if entry["name"] == level)
    if package.task != "style" or file not in package.manifest["files"] or "network" not in described:
        raise EngineError(
            f"engine {package.name} holds no student's weights: choose one that muon-ad train student made"
        )
    weights = {name: value.float() for name, value in load_file(package.path(file)).items()}
    try:
        model = StyledStudent(StudentConfig.from_dict(described["network"]), len(weights["offsets"]))
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise EngineError(
            f"{package.root / file} does not fit the network of this release: train the student again"
        ) from None
    return model.eval().requires_grad_(False)


def named_exit(package: EnginePackage, level: str) -> NamedExit:
    """A level with the student that paints it, in float32; raises EngineError as `load_student`."""
    described = package.level(level)
    student, exit_name = load_student(package, level).student, described.exit or level
    if exit_name not in LEVELS:
        raise EngineError(f"level '{level}' of engine {package.name} is no exit of a student: export the engine again")
    finish = finishing.finish_of(package, described)
    return NamedExit(level, student, exit_name, described.most_pixels, described.scale, finish)


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
    trainer: StudentTrainer,
    name: str,
    version: str,
    codes: Mapping[str, np.ndarray],
    levels: list[dict[str, Any]],
    metrics: dict[str, float],
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
        EDGES_FIELD: EDGES,
        **trainer.recipe.finish.fields(),
        grain.FIELD: trainer.grain,
        "styles_file": "styles.safetensors",
        "styles": [
            style_entry(
                {"name": style.name, "artist": style.artist, "work": style.work},
                Style(codes[style.name], Palette.of(picture)),
            )
            for style, picture in zip(styles, trainer.style_pictures)
        ],
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
