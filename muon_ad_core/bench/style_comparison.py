# SPDX-License-Identifier: Apache-2.0
"""The part of the quality benchmark that compares by style: contenders, unseen styles, flicker, references, sheets."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.bench.benchmark import Picture
from muon_ad_core.bench.engine import read_size
from muon_ad_core.bench.picture_pairs import NamedPicture, evenly_chosen, mixed_pairs, named_pictures
from muon_ad_core.bench.style_contenders import (
    Contender,
    Pixels,
    johnson_networks,
    our_levels,
    palette,
    photograph_itself,
)
from muon_ad_core.bench.style_flicker import (
    SMOOTHED,
    SequencePainter,
    emulated_pan,
    frame_by_frame,
    recorded_clip,
    smoothed_levels,
    warping_errors,
)
from muon_ad_core.bench.style_judging import (
    OPTIMUM,
    REFINED_UNSEEN,
    SHIPPED,
    UNSEEN,
    Ledger,
    StyleJudge,
    by_style,
    describe,
    describe_styles,
    summarise,
    table,
)
from muon_ad_core.bench.style_peers import trained_johnson
from muon_ad_core.bench.style_sheets import at_full_size, by_contender
from muon_ad_core.distill.pictures import resize_long_side
from muon_ad_core.engine.frames import central_square
from muon_ad_core.errors import ParameterError
from muon_ad_core.metrics.detector_style import DetectorStyle

if TYPE_CHECKING:
    from muon_ad_core.metrics.perceptual import PerceptualNetwork
    from muon_ad_core.stylize import Stylizer

SCENE = "pan"
STYLE_SIDE = 448
"""Longer side in pixels at which a style's picture is compared, as in training."""
REFERENCE_SIDE, REFERENCE_STEPS = 256, 60
CLOSE_UPS = 3
"""Styles that are shown at full size."""
SHOWN = 4
"""Photographs that are kept for the sheets."""
Painting = dict[str, list[dict[str, Pixels]]]
"""By style, for each photograph that is shown: what each contender painted."""


@dataclass
class Comparison:
    """What comparing adds to the measurement."""

    results: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, float | None] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    sheets: list[Picture] = field(default_factory=list)


def compare(
    args: argparse.Namespace,
    stylizer: Stylizer,
    shipped: Sequence[str],
    photographs: Sequence[NamedPicture],
    network: PerceptualNetwork,
) -> Comparison:
    """Let every contender paint every photograph in every style; args: of ``muon-ad bench quality``."""
    every = pictures = style_pictures(args.styles, shipped)
    networks = trained_johnson(args.johnson) if args.johnson is not None else {}
    if networks:
        pictures = {name: picture for name, picture in pictures.items() if name in networks}
    if len(pictures) < 2:
        raise ParameterError(f"fewer than two styles of the engine have a picture and a network: {', '.join(shipped)}")
    contenders = [*our_levels(stylizer, stylizer.levels())]
    contenders += [johnson_networks(networks)] if networks else []
    contenders += [palette(pictures), photograph_itself()]
    judged, names = Comparison(), [contender.name for contender in contenders]
    ledgers, painted = _paint_all(contenders, photographs, pictures, network)
    styles = by_style(ledgers, list(pictures), len(photographs))
    further: dict[str, Mapping[str, Ledger]] = {}
    references = {SHIPPED: _references(args, contenders, photographs, pictures, network)} if args.references else {}
    if args.unseen is not None:
        levels = [*our_levels(stylizer, stylizer.levels())]
        if len(every) > len(pictures):
            further[SHIPPED], _ = _paint_all([*levels, palette(every)], photographs, every, network)
        for how, others in _unseen_styles(args, stylizer, len(every)).items():
            seen = [*levels, palette(others)]
            further[how], seen_painted = _paint_all(seen, photographs, others, network)
            if args.references:
                references[how] = _references(args, seen, photographs, others, network)
            styles |= by_style(further[how], list(others), len(photographs))
            judged.sheets.append(_sheet_of(others, seen_painted, [each.name for each in seen], photographs[0][0]))
    painters = [*map(frame_by_frame, contenders), *smoothed_levels(stylizer, contenders, args.smoothing)]
    warping = _flicker(args, painters, list(pictures))
    rows = table(ledgers, warping)
    further_rows = {how: table(ledgers, {}) for how, ledgers in further.items()}
    judged.results = {
        "contenders": rows,
        "further_styles": further_rows,
        "by_style": styles,
        "warping_errors": warping,
    }
    judged.text = [f"{len(pictures)} of {len(shipped)} styles, {len(photographs)} photographs", *describe(rows)]
    judged.text += ["", *describe_styles(styles, [each.name for each in our_levels(stylizer, stylizer.levels())])]
    judged.text += ["", *_describe_smoothed(warping)]
    if references:
        judged.results["references"] = {how: table(found, {}) for how, found in references.items()}
        for how, reference_rows in judged.results["references"].items():
            judged.text += ["", f"as painted at {REFERENCE_SIDE} x {REFERENCE_SIDE}, {how}:", *describe(reference_rows)]
    judged.summary = summarise(contenders, ledgers, further, references, warping)
    for name, ledger in ledgers.items():
        judged.samples |= {f"{measure}, {name}": values for measure, values in ledger.style.items()}
        judged.samples |= {f"{m}, {name}": getattr(ledger, m) for m in ("content", "lattice", "mesh")}
    judged.sheets.append(_sheet_of(pictures, painted, names, photographs[0][0]))
    judged.sheets += _close_ups(painted, names, [picture for _, picture in photographs])
    return judged


def _paint_all(
    contenders: Sequence[Contender],
    photographs: Sequence[NamedPicture],
    styles: Mapping[str, Pixels],
    network: PerceptualNetwork,
) -> tuple[dict[str, Ledger], Painting]:
    judge = StyleJudge(contenders, network, DetectorStyle())
    painted: Painting = {}
    for number, (style, picture) in enumerate(styles.items(), start=1):
        judge.add_style(picture)
        painted[style] = [judge.add(photograph, style, picture) for _, photograph in photographs][:SHOWN]
        print(f"{number} of {len(styles)}: {style}", flush=True)
    return judge.ledgers, painted


def _flicker(
    args: argparse.Namespace, painters: Sequence[SequencePainter], styles: list[str]
) -> dict[str, dict[str, float]]:
    """Warping errors by sequence and painter."""
    size = read_size(args.size)
    sequences = [emulated_pan(SCENE, size, args.frames)]
    if args.clip is not None:
        sequences.append(recorded_clip(args.clip, size, args.frames))
    found = {}
    for moving in sequences:
        print(f"{moving.name}: {len(moving.frames)} frames in {len(styles)} styles", flush=True)
        found[moving.name] = warping_errors(painters, moving, styles)
    return found


def _describe_smoothed(warping: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Lines about levels that are smoothed in time, which have no column in the table."""
    return [
        f"warping error, {sequence}, {name}: {error:.4g}"
        for sequence, errors in warping.items()
        for name, error in errors.items()
        if name.endswith(SMOOTHED)
    ]


def _references(
    args: argparse.Namespace,
    contenders: Sequence[Contender],
    photographs: Sequence[NamedPicture],
    styles: Mapping[str, Pixels],
    network: PerceptualNetwork,
) -> dict[str, Ledger]:
    """Some photographs in styles on small squares, with the optimiser's own results, by contender."""
    from muon_ad_core.distill.features import load_feature_network
    from muon_ad_core.distill.style_baselines import optimise_perceptually

    def square(style: str) -> Pixels:
        return central_square(styles[style], REFERENCE_SIDE)

    features = load_feature_network(args.weights)
    references = [
        Contender(OPTIMUM, lambda frame, style: optimise_perceptually(
            features, frame, square(style), REFERENCE_STEPS))
    ]  # fmt: skip
    if args.teacher:
        references.append(_by_teacher(args.teacher, square))
    judge = StyleJudge([*contenders, *references], network, DetectorStyle())
    pairs = mixed_pairs(photographs, list(styles.items()))[: args.references]
    for number, ((name, photograph), (style, _)) in enumerate(pairs, start=1):
        judge.add(central_square(photograph, REFERENCE_SIDE), style, square(style))
        print(f"reference {number} of {len(pairs)}: {name} as {style}", flush=True)
    return judge.ledgers


def _by_teacher(name: str, square: Any) -> Contender:
    from muon_ad_core.bench.synthesis_methods import attention_distillation
    from muon_ad_core.distill.synthesis_settings import SynthesisSettings
    from muon_ad_core.distill.teachers.loader import load_teacher

    teacher = load_teacher(name)
    settings = SynthesisSettings(size=REFERENCE_SIDE, steps=REFERENCE_STEPS)
    settings = replace(settings, objective=replace(settings.objective, target=teacher.target))
    weight = settings.optimisation.content_weight
    method = attention_distillation("teacher", teacher, settings, [weight])
    return Contender("teacher", lambda frame, style: method.paint(frame, square(style), weight))


def style_pictures(folder: Path, shipped: Sequence[str]) -> dict[str, Pixels]:
    """Pictures of the shipped styles that the folder has, in the engine's order."""
    found = dict(named_pictures(folder, ()))
    return {name: _style_view(found[name]) for name in shipped if name in found}


def _unseen_styles(args: argparse.Namespace, stylizer: Stylizer, count: int) -> dict[str, dict[str, Pixels]]:
    """At most `count` pictures that are no styles yet, made styles of the engine: by one pass of its encoder, and, with
    --refine, refined after it under names of their own."""
    known = set(stylizer.style_names())
    chosen = evenly_chosen([p for p in named_pictures(args.unseen, ()) if p[0] not in known], count)
    if len(chosen) < 2:
        raise ParameterError(f"{args.unseen} has fewer than two pictures that are no style of the engine")
    made: dict[str, dict[str, Pixels]] = {UNSEEN: {}}
    for name, picture in chosen:
        stylizer.add_style(name, picture)
        made[UNSEEN][name] = _style_view(picture)
        if args.refine:
            from muon_ad_core.distill.style_refinement import refine_style

            style = stylizer.style(name)
            refined = refine_style(stylizer.package, style.code, [picture], args.weights, args.refine)
            print(f"{name}: refined in {refined.steps} steps, {refined.before:.3f} -> {refined.after:.3f}", flush=True)
            stylizer.keep_style(f"{name} refined", replace(style, code=refined.code))
            made.setdefault(REFINED_UNSEEN, {})[f"{name} refined"] = _style_view(picture)
    return made


def _sheet_of(styles: Mapping[str, Pixels], painted: Painting, names: Sequence[str], photograph: str) -> Picture:
    rows = [(style, picture, [painted[style][0][name] for name in names]) for style, picture in styles.items()]
    return by_contender(rows, names, photograph)


def _close_ups(painted: Painting, names: Sequence[str], photographs: Sequence[Pixels]) -> list[Picture]:
    styles = list(painted)
    sheets = []
    for style in styles[:: -(-len(styles) // CLOSE_UPS)]:
        rows = [[p, *(each[name] for name in names)] for p, each in zip(photographs, painted[style])]
        sheets.append(at_full_size(rows, names, style))
    return sheets


def _style_view(picture: Pixels) -> Pixels:
    return resize_long_side(picture, STYLE_SIDE)
