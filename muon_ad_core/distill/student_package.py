# SPDX-License-Identifier: Apache-2.0
"""From a trained student to the engine package that ships: graphs, style codes, weights, metrics and model card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from skimage.metrics import structural_similarity

from muon_ad_core.compress.export import count_macs, export_onnx
from muon_ad_core.compress.quantise import quantise
from muon_ad_core.distill.pictures import list_pictures, random_crop, read_picture, to_picture, to_tensor
from muon_ad_core.distill.student_trainer import StudentTrainer, describe
from muon_ad_core.engine.package import write_package
from muon_ad_core.errors import UserError
from muon_ad_core.nets.student import (
    INPUT_BLOCK,
    LEVELS,
    OUTPUT_BLOCK,
    Level,
    PackedStudent,
    Student,
    pack_pixels,
    unpack_pixels,
)
from muon_ad_core.nets.style_encoder import ENCODER_SIZE, PackedStyleEncoder

CALIBRATION_FRAMES = 512
CALIBRATION_SIDE = 256
VGA = (480, 640)
FAST_ONLY = ("fast_head",)
FINE_ONLY = ("up_half", "half_", "fine_head")
"""Beginnings of the names of parameters that one level has to itself."""
Report = Callable[[str], None]


def write_student_package(trainer: StudentTrainer, target: Path, version: str, report: Report = print) -> None:
    """Export every level of the averaged student (INT8), the encoder and the styles into the folder `target`."""
    target.mkdir(parents=True, exist_ok=True)
    codes = trainer.style_codes()
    student = trainer.average.student
    levels, metrics = [], {}
    for level in LEVELS:
        report(f"exporting level {level}")
        levels.append(_export_level(student, level, trainer, list(codes.values()), target))
        metrics[f"ssim_int8_float_{level}"] = _int8_fidelity(student, level, trainer, codes, target / f"{level}.onnx")
    picture = torch.zeros(1, ENCODER_SIZE, ENCODER_SIZE, 3, dtype=torch.uint8)
    export_onnx(PackedStyleEncoder(trainer.average.encoder), {"picture": picture}, ["code"], target / "encoder.onnx")
    save_arrays(codes, target / "styles.safetensors")
    weights = {name: value.half().contiguous() for name, value in trainer.average.state_dict().items()}
    save_file(weights, target / "weights.safetensors")
    fields = _manifest(trainer, target.name, version, levels, metrics)
    (target / "README.md").write_text(_model_card(fields), encoding="utf-8")
    files = [f"{level}.onnx" for level in LEVELS]
    files += ["encoder.onnx", "styles.safetensors", "weights.safetensors", "README.md"]
    write_package(target, fields, files)


def _export_level(
    student: Student, level: Level, trainer: StudentTrainer, codes: list[np.ndarray], target: Path
) -> dict[str, Any]:
    network = PackedStudent(student, level)
    rows, columns = VGA[0] // INPUT_BLOCK, VGA[1] // INPUT_BLOCK
    inputs = {
        "pixels": torch.zeros(1, rows, columns, 3 * INPUT_BLOCK**2, dtype=torch.uint8),
        "code": torch.zeros(1, student.config.code),
    }
    float_graph = target / f"{level}.float.onnx"
    axes = {"pixels": {1: "rows", 2: "columns"}, "painted": {1: "painted_rows", 2: "painted_columns"}}
    export_onnx(network, inputs, ["painted"], float_graph, axes)
    quantise(float_graph, target / f"{level}.onnx", _calibration_frames(trainer, codes))
    float_graph.unlink()
    unused = FINE_ONLY if level == "fast" else FAST_ONLY
    used = [p for name, p in student.named_parameters() if not name.startswith(unused)]
    return {
        "name": level, "graph": f"{level}.onnx", "precision": "int8", "width": student.config.width,
        "parameters": sum(p.numel() for p in used), "macs": count_macs(network, inputs),
        "input_block": INPUT_BLOCK, "output_block": OUTPUT_BLOCK[level],
    }  # fmt: skip


def _calibration_frames(trainer: StudentTrainer, codes: list[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Crops of training photographs, the styles turn about; seeded, so that an export can be repeated."""
    random = np.random.default_rng(trainer.config.seed)
    for index in range(CALIBRATION_FRAMES):
        crop = trainer.photos.draw(CALIBRATION_SIDE, random)
        yield {"pixels": _packed(crop), "code": codes[index % len(codes)][None]}


def _packed(picture: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(np.ascontiguousarray(picture))[None].permute(0, 3, 1, 2)
    return pack_pixels(pixels, INPUT_BLOCK).permute(0, 2, 3, 1).contiguous().numpy()


def _int8_fidelity(
    student: Student, level: Level, trainer: StudentTrainer, codes: dict[str, np.ndarray], graph: Path
) -> float:
    """Mean SSIM of the INT8 graph against the float network over validation photographs and styles."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    block, found = OUTPUT_BLOCK[level], []
    for picture in _validation_crops(trainer):
        for code in list(codes.values())[::3]:
            with torch.no_grad():
                expected = to_picture(student(to_tensor([picture]), torch.from_numpy(code)[None], level)[0])
            painted = session.run(None, {"pixels": _packed(picture), "code": code[None]})[0]
            found.append(structural_similarity(expected, _unpacked(painted, block), channel_axis=2))
    return round(float(np.mean(found)), 4)


def _unpacked(painted: np.ndarray, block: int) -> np.ndarray:
    return unpack_pixels(torch.from_numpy(painted).permute(0, 3, 1, 2), block)[0].permute(1, 2, 0).numpy()


def _validation_crops(trainer: StudentTrainer) -> list[np.ndarray]:
    folder = trainer.config.validation or trainer.config.photos
    random = np.random.default_rng(1)
    pictures = (read_picture(path) for path in list_pictures(folder)[:8])
    crops = [random_crop(picture, 320, (1.0, 1.0), random) for picture in pictures if picture is not None]
    if not crops:
        raise UserError(f"none of the first pictures in {folder} can be read: check the validation folder")
    return crops


def _manifest(
    trainer: StudentTrainer, name: str, version: str, levels: list[dict[str, Any]], metrics: dict[str, float]
) -> dict[str, Any]:
    styles = trainer.styles[: len(trainer.config.shipped)]
    return {
        "name": name,
        "version": version,
        "task": "style",
        "description": "Distilled student: paints a frame in the style of a picture, two levels, one style code.",
        "licence": "Apache-2.0",
        "levels": levels,
        "code_length": trainer.config.network.code,
        "network": trainer.config.network.to_dict(),
        "encoder": "encoder.onnx",
        "encoder_size": ENCODER_SIZE,
        "styles_file": "styles.safetensors",
        "styles": [{"name": style.name, "artist": style.artist, "work": style.work} for style in styles],
        "training": {
            "command": "muon-ad train student",
            "photographs": len(trainer.photos.paths),
            "style_pictures": len(trainer.styles),
            "steps_done": trainer.step,
            **describe(trainer.config),
        },
        "metrics": metrics,
    }


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
pixels. Loss: feature moments of SqueezeNet 1.1 (style) and its instance-normalised features (content), a lattice
penalty, and the difference between shifted views (steadiness). Muon for convolutions, AdamW for the rest.
{training["data_note"] or "Where the pictures come from was not noted."}
No picture is part of the package. `weights.safetensors` (float16) lets the training go on.

Train again (the recipe's other values are in `manifest.json` and are the defaults):

    muon-ad train student --photos DIR --styles DIR --extra-styles DIR --features squeezenet1_1.safetensors \\
        --ship {" ".join(style["name"] for style in fields["styles"])} \\
        --steps {training["steps"]} --batch {training["batch"]} --run DIR

## Metrics
{metrics}

## Limits
A first student: palettes and coarse texture follow the picture, fine brush strokes only partly. Pictures that were
not trained as styles (`load_style`) give their palette and contrast more than their strokes. Text and small faces are
not kept readable; in flat areas a fine regular mesh shows from close up. Frames are expected to be ordinary camera
pictures; strong sensor noise is painted, too.
"""
