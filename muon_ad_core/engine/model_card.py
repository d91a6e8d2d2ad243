# SPDX-License-Identifier: Apache-2.0
"""The model card of a student's package: what its manifest tells, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from muon_ad_core.engine.frames import MAX_PIXELS, VGA, painted_size

OPTIONS = {
    "start": "start",
    "start_level": "start-level",
    "codes": "codes",
    "prune": "prune",
    "prune_method": "prune-method",
    "steps": "steps",
    "batch": "batch",
    "crop": "crop",
    "max_shift": "max-shift",
    "optimizer": "optimizer",
    "lr": "learning-rate",
    "matrix_decay": "matrix-decay",
    "palettes": "palettes",
    "shipped_share": "shipped-share",
    "scale": "scale",
    "seed": "seed",
}
"""Of ``muon-ad train student``, by the recipe's values that they set."""
WEIGHTS = ("style", "content", "tone", "lattice", "mesh", "border", "steady", "variation", "attention")
"""Losses whose weights are options."""
NO_BREAK = "\N{NO-BREAK SPACE}"
FLAGS = ("parts", "frozen_codes", "frozen_student", "projection", "curriculum")
ENCODER_FIELD = "encoder_training"
"""Of the manifest: the run that trained the encoder by itself, where there was one."""


def model_card(fields: Mapping[str, Any]) -> str:
    """The card (Markdown) of a student whose manifest has these fields."""
    styles = "\n".join(
        f"- `{s['name']}`: {s['artist'] or 'unknown artist'}, {s['work'] or s['name']}" for s in fields["styles"]
    )
    levels = "\n".join(
        f"| {level['name']} | {level['precision']} | {level['parameters']:,} | {_painted_size(level)} "
        f"| {level['macs'] / 1e9:.2f} |"
        for level in fields["levels"]
    )
    training = fields["training"]
    metrics = "\n".join(f"- {name}: {value}" for name, value in fields["metrics"].items())
    return f"""# {fields["name"]} {fields["version"]}

{fields["description"]} Licence: {fields["licence"]}.

| level | precision | parameters | paints 640x480 at | GMAC |
|---|---|---|---|---|
{levels}

## Styles
{styles}

A style is a code of {fields["code_length"]} numbers, beside it the mean and covariance of its picture's colours.

## Training
{_steps(training):,} steps on {training["photographs"]:,} photographs and {training["style_pictures"]} style
pictures; a step sees two shifted views of {training["batch"]} photographs, {training["crop"]} x {training["crop"]}
pixels, with faint grain. Loss: sliced Wasserstein distance of SqueezeNet 1.1's features and their strength, at full and
at half size (style), its instance-normalised features (content), light and dark of the picture, {_penalties(training)},
and the difference between shifted views (steadiness){_further(training)}.
{training["data_note"] or "Where the pictures come from was not noted."}
No picture is part of the package. `weights.safetensors` (float16) lets the training go on.

Train again:

{_commands(fields)}

## Metrics
{metrics}

## Limits
Colours and strokes follow the picture of the style; large forms do not. Twice enlarged, rows of small dots show in the
sky of some styles. Pictures that were not trained as styles (`load_style`) give their palette and contrast more than
their strokes, unless they are refined (`muon-ad style add --refine`). Text and small faces are not kept readable.
Frames are expected to be ordinary camera pictures; strong sensor noise is painted, too.
"""


def _painted_size(level: Mapping[str, Any]) -> str:
    height, width = painted_size(*VGA, level.get("most_pixels", MAX_PIXELS), level.get("scale", 1.0))
    return f"{width}x{height}"


def _commands(fields: Mapping[str, Any]) -> str:
    """The runs that made the package, as they would be typed: its own, and those of parts that were trained apart."""
    ship = " ".join(style["name"] for style in fields["styles"])
    runs = [fields["training"]]
    for level in fields["levels"]:
        if level.get("training") not in (None, *runs):
            runs.append(level["training"])
    if ENCODER_FIELD in fields:
        runs.append(fields[ENCODER_FIELD])
    return "\n\n".join(_command(run, ship) for run in runs)


def _command(training: Mapping[str, Any], ship: str) -> str:
    """One run, with every value of the recipe that has an option."""
    values = {**training, "steps": _steps(training)}
    options = [f"--{option} {values[name]}" for name, option in OPTIONS.items() if values.get(name)]
    options += [f"--{name}-weight {value:g}" for name, value in training["weights"].items() if name in WEIGHTS]
    options += [f"--{name.replace('_', '-')}" for name in FLAGS if training.get(name)]
    if "finish" in training:
        options.append(f"--local-contrast {training['finish']['local_contrast']:g}")
    options += [f"--exits {' '.join(training['levels'])}"] if training.get("levels") else []
    # An option stays on a line with its value.
    whole = " ".join(option.replace(" ", NO_BREAK) for option in options)
    lines = textwrap.wrap(whole, 100, initial_indent=" " * 8, subsequent_indent=" " * 8, break_on_hyphens=False)
    lines = [line.replace(NO_BREAK, " ") for line in lines]
    first = (
        "    muon-ad train student --photos DIR --styles DIR --extra-styles DIR --features squeezenet1_1.safetensors"
    )
    return " \\\n".join([first, f"        --run DIR --ship {ship}", *lines])


def _steps(training: Mapping[str, Any]) -> int:
    """Of a run, with those in which it pruned."""
    return int(training["steps_done"]) + int(training.get("pruning_steps", 0))


def _penalties(training: Mapping[str, Any]) -> str:
    penalised = {"lattice": "a lattice", "mesh": "a mesh", "border": "lines along the border"}
    named = [words for name, words in penalised.items() if training["weights"].get(name)]
    return f"penalties of {', '.join(named[:-1])} and {named[-1]}" if len(named) > 1 else f"a penalty of {named[0]}"


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
