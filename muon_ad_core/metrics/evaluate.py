# SPDX-License-Identifier: Apache-2.0
"""Whole evaluations: a folder of pictures against another, and a stylised sequence against its original."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import ParameterError, SourceError
from muon_ad_core.metrics.distribution import FeatureExtractor, FrechetScore
from muon_ad_core.metrics.image import high_frequency_retention, psnr, ssim
from muon_ad_core.metrics.running import RunningMean
from muon_ad_core.metrics.scores import art_fid, harmony, style_score
from muon_ad_core.metrics.temporal import TemporalWarpingError, estimate_flow
from muon_ad_core.sources import open_source
from muon_ad_core.sources.natural import natural_order
from muon_ad_core.sources.pictures import SUFFIXES

Picture = NDArray[np.uint8]


@dataclass
class Evaluation:
    """Means by metric, and the value of each picture."""

    figures: dict[str, float | None] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


def evaluate_images(
    pictures: Path,
    references: Path,
    styles: Path | None = None,
    network: Any = None,
    extractor: FeatureExtractor | None = None,
) -> Evaluation:
    """Judge pictures by references of the same names (or, failing that, the same number, in order).

    styles: picture or folder of pictures whose style was meant. network: a `PerceptualNetwork`, which adds LPIPS
    and, with styles, style distance, ArtFID-like score and harmony. extractor: adds its FID.
    Raises SourceError or ParameterError when the pictures do not go together.
    """
    pairs = list(pair_files(pictures, references))
    running = {metric.__name__: RunningMean(metric) for metric in (ssim, psnr, high_frequency_retention)}
    lpips = RunningMean(network.lpips) if network is not None else None
    style = _StyleJudge(network, [read_picture(file) for file in list_pictures(styles)]) if network and styles else None
    fid = FrechetScore(extractor) if extractor is not None else None
    for file, reference_file in pairs:
        picture, reference = read_picture(file), read_picture(reference_file)
        if picture.shape != reference.shape:
            sizes = " and ".join(f"{shape[1]}x{shape[0]}" for shape in (picture.shape, reference.shape))
            raise ParameterError(f"{file.name} and its reference differ in size, {sizes}: scale one of them first")
        for mean in running.values():
            mean.add(picture, reference)
        if lpips is not None:
            lpips.add(picture[None], reference[None])
        if style is not None:
            style.add(picture, reference)
        if fid is not None:
            fid.add_generated(picture[None])
            fid.add_reference(reference[None])
    evaluation = Evaluation(names=[file.name for file, _ in pairs])
    if lpips is not None:
        running[f"LPIPS[{network.name}]"] = lpips
    for name, mean in running.items():
        evaluation.figures[name], evaluation.values[name] = mean.mean, mean.values
    if fid is not None and len(pairs) > 1:
        evaluation.figures[fid.label] = fid.distance()
    if style is not None and lpips is not None:
        style.tell(evaluation, evaluation.figures["ssim"], lpips.mean)
    return evaluation


def evaluate_sequence(original: str, stylized: str, most_frames: int = 300) -> Evaluation:
    """Temporal warping error of a stylised sequence by the flow of its original, with the original's own beside it.

    Both are anything `open_source` opens, frame for frame. Raises SourceError when they differ in size.
    """
    errors = {"original": TemporalWarpingError(), "stylized": TemporalWarpingError()}
    previous: Picture | None = None
    sources = [open_source(name) for name in (original, stylized)]
    count = 0
    for frame, styled in itertools.islice(zip(*sources), most_frames):
        if frame.color.shape != styled.color.shape:
            raise SourceError(f"{original} and {stylized} differ in size: scale one of them first")
        flow, trusted = (None, None) if previous is None else estimate_flow(previous, frame.color)
        errors["original"].add(frame.color, flow, trusted)
        errors["stylized"].add(styled.color, flow, trusted)
        previous = frame.color.copy()
        count += 1
    if count < 2:
        raise SourceError(f"{original} and {stylized} have fewer than two frames in common")
    evaluation = Evaluation()
    for name, error in errors.items():
        evaluation.figures[f"warping_error_{name}"] = error.mean
        evaluation.values[f"warping_error_{name}"] = error.values
    own, styled_error = errors["original"].mean, errors["stylized"].mean
    evaluation.figures["warping_error_ratio"] = styled_error / own if own and styled_error is not None else None
    return evaluation


def pair_files(pictures: Path, references: Path) -> Iterator[tuple[Path, Path]]:
    """Pictures that belong together: by name without ending, or in order when no name fits and the numbers do.

    Raises ParameterError when neither is so.
    """
    ours, theirs = list_pictures(pictures), list_pictures(references)
    by_name = {file.stem: file for file in theirs}
    common = [(file, by_name[file.stem]) for file in ours if file.stem in by_name]
    if len(common) == len(ours):
        yield from common
    elif not common and len(ours) == len(theirs):
        yield from zip(ours, theirs)
    else:
        raise ParameterError(
            f"{len(ours) - len(common)} of {len(ours)} pictures in {pictures} have no reference of their name in "
            f"{references}: give both the same names, or the same number of pictures with other names"
        )


def list_pictures(path: Path) -> list[Path]:
    """A picture, or those in a folder in natural order; raises SourceError when there are none."""
    files = [path] if path.is_file() else sorted(path.glob("*"), key=natural_order)
    files = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not files:
        raise SourceError(f"there are no pictures in {path}: name a folder of {', '.join(sorted(SUFFIXES))} files")
    return files


def read_picture(path: Path) -> Picture:
    """RGB, (H, W, 3); raises SourceError when the file is no picture."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise SourceError(f"{path} cannot be read as a picture: is it damaged?")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


class _StyleJudge:
    """Distances to the nearest of the style pictures, of results and of the photographs they were made from."""

    def __init__(self, network: Any, styles: Sequence[Picture]) -> None:
        self._network = network
        self._styles = styles
        self._fid = FrechetScore(network)
        for style in styles:
            self._fid.add_reference(style[None])
        self.distances: list[float] = []
        self.scores: list[float] = []

    def add(self, picture: Picture, photograph: Picture) -> None:
        ours, theirs = ([self._distance(shown, style) for style in self._styles] for shown in (picture, photograph))
        nearest = int(np.argmin(ours))
        self.distances.append(ours[nearest])
        self.scores.append(style_score(ours[nearest], theirs[nearest]))
        self._fid.add_generated(picture[None])

    def tell(self, evaluation: Evaluation, similarity: float | None, content: float | None) -> None:
        """Add the figures."""
        label = self._network.name
        evaluation.values[f"style_distance[{label}]"] = self.distances
        evaluation.figures[f"style_distance[{label}]"] = float(np.mean(self.distances))
        score = float(np.mean(self.scores))
        evaluation.figures["style_score"] = score
        if similarity is not None:
            evaluation.figures["harmony"] = harmony(score, max(0.0, similarity))
        if content is not None and min(self._fid.reference.count, self._fid.generated.count) > 1:
            distance = self._fid.distance()
            evaluation.figures[f"style_{self._fid.label}"] = distance
            evaluation.figures[f"ArtFID-like[{label}]"] = art_fid(content, distance)

    def _distance(self, picture: Picture, style: Picture) -> float:
        return float(self._network.style_distance(picture[None], style[None])[0])
