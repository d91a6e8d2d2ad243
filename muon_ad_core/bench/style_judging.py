# SPDX-License-Identifier: Apache-2.0
"""Judges what contenders paint: nearness to the style, what is left of the photograph, the mesh; at equal content.

A contender that changes the photograph more than another is compared with as much of the photograph mixed back in as
makes both change it alike: style and content are a trade, and what is compared is one at the same of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from muon_ad_core.bench.style_contenders import JOHNSON, PALETTE, Contender, Pixels, mixed
from muon_ad_core.bench.style_flicker import SMOOTHED
from muon_ad_core.bench.synthesis import judge
from muon_ad_core.bench.synthesis_figures import Painted, style_at
from muon_ad_core.metrics.distribution import FrechetScore
from muon_ad_core.metrics.image import ssim
from muon_ad_core.metrics.mesh import lattice, mesh
from muon_ad_core.metrics.scores import art_fid

if TYPE_CHECKING:
    from muon_ad_core.metrics.detector_style import DetectorStyle
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

SWD, STYLE_BY_DETECTOR = "sliced_wasserstein", "style_distance[detector]"
"""What no training of a network that paints minimises: the judges."""
SHIPPED, UNSEEN, REFINED_UNSEEN = "shipped", "unseen", "refined_unseen"
"""All styles that ship; styles of pictures that are seen for the first time, by one pass of the encoder; and these
refined after it."""

OPTIMUM = "direct optimum"
"""The contender that optimises each picture by itself."""


@dataclass
class Ledger:
    """Figures of one contender, one value a painted picture.

    left: part of the photograph's distance to the style that is left, by measure; equal: (ours, Johnson's) distance at
    equal content, by measure; only of our levels, where there are Johnson networks.
    """

    content: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    lattice: list[float] = field(default_factory=list)
    mesh: list[float] = field(default_factory=list)
    style: dict[str, list[float]] = field(default_factory=dict)
    left: dict[str, list[float]] = field(default_factory=dict)
    equal: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    fid: FrechetScore | None = None


class StyleJudge:
    """Takes in photographs in styles, one by one; ledgers by contender."""

    def __init__(self, contenders: Sequence[Contender], network: PerceptualNetwork, detector: DetectorStyle) -> None:
        """network: judges content, and the style as trainings see it; detector: the style as none of them sees it."""
        self._contenders, self._network, self._detector = contenders, network, detector
        self.ledgers = {contender.name: Ledger(fid=FrechetScore(network)) for contender in contenders}

    def add_style(self, picture: Pixels) -> None:
        """A style's picture, for the distance between all that was painted and all styles."""
        for ledger in self.ledgers.values():
            if ledger.fid is not None:
                ledger.fid.add_reference(picture[None])

    def add(self, photograph: Pixels, style: str, picture: Pixels) -> dict[str, Pixels]:
        """Let every contender paint a photograph in a style, whose picture is given; returns what they painted."""
        unchanged = self._judge(photograph, photograph, picture, 0.0)
        painted = {contender.name: contender.paint(photograph, style) for contender in self._contenders}
        found = {name: self._judge(pixels, photograph, picture, 1.0) for name, pixels in painted.items()}
        for name, pixels in painted.items():
            ledger = self.ledgers[name]
            ledger.content.append(found[name].content)
            ledger.ssim.append(float(ssim(pixels, photograph)))
            ledger.lattice.append(lattice(pixels))
            ledger.mesh.append(mesh(pixels))
            if ledger.fid is not None:
                ledger.fid.add_generated(pixels[None])
            for measure, distance in found[name].style.items():
                ledger.style.setdefault(measure, []).append(distance)
                ledger.left.setdefault(measure, []).append(distance / max(unchanged.style[measure], 1e-9))
        if JOHNSON in painted:
            self._compare(photograph, picture, unchanged, painted, found)
        return painted

    def _judge(self, painted: Pixels, photograph: Pixels, style: Pixels, strength: float) -> Painted:
        return judge(painted, photograph, style, self._network, strength, detector=self._detector)

    def _compare(
        self,
        photograph: Pixels,
        picture: Pixels,
        unchanged: Painted,
        painted: Mapping[str, Pixels],
        found: Mapping[str, Painted],
    ) -> None:
        for contender in self._contenders:
            if not contender.level:
                continue
            content = min(found[contender.name].content, found[JOHNSON].content)
            curves = []
            for name in (contender.name, JOHNSON):
                curve = [found[name]]
                if found[name].content > content:
                    share = content / found[name].content
                    with_less = mixed(photograph, painted[name], share)
                    curve.append(self._judge(with_less, photograph, picture, share))
                curves.append(curve)
            for measure in unchanged.style:
                pair = (
                    style_at(curves[0], unchanged, content, measure),
                    style_at(curves[1], unchanged, content, measure),
                )
                self.ledgers[contender.name].equal.setdefault(measure, []).append(pair)


def table(
    ledgers: Mapping[str, Ledger], warping: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float | None]]:
    """Means by contender; warping: by sequence, then by contender, mean squared differences."""
    rows: dict[str, dict[str, float | None]] = {}
    for name, ledger in ledgers.items():
        fid = ledger.fid.distance() if ledger.fid is not None and ledger.fid.reference.count > 1 else None
        row: dict[str, float | None] = {"content": fmean(ledger.content)}
        row |= {measure: fmean(values) for measure, values in ledger.style.items()}
        row |= {f"{measure}, left": fmean(values) for measure, values in ledger.left.items()}
        for measure, pairs in ledger.equal.items():
            row[f"{measure}, by Johnson's at equal content"] = _ratio([a for a, _ in pairs], [b for _, b in pairs])
        row |= {"ssim": fmean(ledger.ssim), "lattice": fmean(ledger.lattice), "mesh": fmean(ledger.mesh)}
        if ledger.fid is not None:
            row[ledger.fid.label] = fid
            row[f"ArtFID-like {ledger.fid.label[3:]}"] = None if fid is None else art_fid(fmean(ledger.content), fid)
        row |= {f"warping error, {sequence}": values.get(name) for sequence, values in warping.items()}
        rows[name] = row
    return rows


def by_style(
    ledgers: Mapping[str, Ledger], styles: Sequence[str], photographs: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Means over the photographs of each style, which were painted one style after the other, by contender."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for number, style in enumerate(styles):
        own = slice(number * photographs, (number + 1) * photographs)
        found[style] = {
            name: {"content": fmean(ledger.content[own]), "mesh": fmean(ledger.mesh[own])}
            | {f"{measure}, left": fmean(values[own]) for measure, values in ledger.left.items()}
            for name, ledger in ledgers.items()
        }
    return found


def summarise(
    contenders: Sequence[Contender],
    ledgers: Mapping[str, Ledger],
    further: Mapping[str, Mapping[str, Ledger]],
    references: Mapping[str, Mapping[str, Ledger]],
    warping: Mapping[str, Mapping[str, float]],
) -> dict[str, float | None]:
    """The flat figures of each of our levels, with _LEVEL at their ends; None for what was not measured.

    ledgers: of the styles that are compared; further: of SHIPPED, where these are not all compared, UNSEEN and
    REFINED_UNSEEN; references: on small squares, with OPTIMUM, of SHIPPED and UNSEEN.
    """
    summary: dict[str, float | None] = {}
    for end, name, by_kind in (
        ("palette", PALETTE, {SHIPPED: ledgers, **further}),
        ("optimum", OPTIMUM, references),
    ):
        shipped, unseen = (by_kind.get(kind, {}).get(name) for kind in (SHIPPED, UNSEEN))
        for key, measure in (("unseen_ratio", SWD), ("unseen_style_ratio", STYLE_BY_DETECTOR)):
            ratio = _ratio(unseen.left[measure], shipped.left[measure]) if unseen and shipped else None
            summary[f"{key}_{end}"] = ratio
    johnson = ledgers.get(JOHNSON)
    for contender in (each for each in contenders if each.level):
        ledger, end = ledgers[contender.name], f"_{contender.level}"
        judges = (("swd", SWD), ("style", STYLE_BY_DETECTOR), ("trained_style", _trained_measure(ledger)))
        for key, measure in judges:
            pairs = ledger.equal.get(measure, [])
            summary[f"{key}_ratio_johnson{end}"] = _ratio([a for a, _ in pairs], [b for _, b in pairs])
        summary[f"content_ratio_johnson{end}"] = _ratio(ledger.content, johnson.content) if johnson else None
        for key, name in (("warp_ratio", contender.name + SMOOTHED), ("frame_warp_ratio", contender.name)):
            warps = [by[name] / by[JOHNSON] for by in warping.values() if JOHNSON in by]
            summary[f"{key}_johnson{end}"] = fmean(warps) if warps else None
        summary[f"lattice{end}"] = fmean(ledger.lattice)
        summary[f"mesh{end}"] = fmean(ledger.mesh)
        own = further.get(SHIPPED, ledgers)[contender.name]
        for key in (UNSEEN, REFINED_UNSEEN):
            other = further.get(key, {}).get(contender.name)
            for name, measure in ((f"{key}_ratio", SWD), (f"{key}_style_ratio", STYLE_BY_DETECTOR)):
                summary[name + end] = _ratio(other.left[measure], own.left[measure]) if other else None
    return summary


def describe_styles(styles: Mapping[str, Mapping[str, Mapping[str, float]]], names: Sequence[str]) -> list[str]:
    """For a terminal: how much of the distance of patches is left in each style, contenders of `names` in columns."""
    lines = [f"{f'{SWD}, left':50}" + "".join(f"{name:>16}" for name in names)]
    for style, found in styles.items():
        lines.append(f"{style:50}" + "".join(f"{found[name][f'{SWD}, left']:>16.4g}" for name in names))
    return lines


def describe(rows: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """The table for a terminal: contenders in columns."""
    names = list(rows)
    measures = list(dict.fromkeys(measure for row in rows.values() for measure in row))
    lines = [" " * 50 + "".join(f"{name:>16}" for name in names)]
    for measure in measures:
        cells = [rows[name].get(measure) for name in names]
        lines.append(f"{measure:50}" + "".join(f"{'-' if cell is None else format(cell, '.4g'):>16}" for cell in cells))
    return lines


def _trained_measure(ledger: Ledger) -> str:
    """The style distance by the network that trainings look through."""
    return next(measure for measure in ledger.style if measure not in (SWD, STYLE_BY_DETECTOR))


def _ratio(ours: Sequence[float], others: Sequence[float]) -> float | None:
    return fmean(ours) / fmean(others) if ours and others and fmean(others) else None
