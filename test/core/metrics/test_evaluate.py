# SPDX-License-Identifier: Apache-2.0
"""Whole evaluations and ``muon-ad eval``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from muon_ad_core import cli
from muon_ad_core.bench.result_file import read_document
from muon_ad_core.errors import ParameterError
from muon_ad_core.metrics.evaluate import evaluate_sequence, pair_files
from muon_ad_core.metrics.image import ssim


def save(folder: Path, pictures: NDArray[np.uint8], names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    folder.mkdir()
    for name, picture in zip(names, pictures):
        cv2.imwrite(str(folder / f"{name}.png"), picture[..., ::-1])
    return folder


def test_images_are_judged_pair_by_pair(
    tmp_path: Path, photographs: NDArray[np.uint8], blurred: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = save(tmp_path / "ours", blurred), save(tmp_path / "theirs", photographs)
    assert cli.main(["eval", "images", str(ours), str(theirs), "--json", str(tmp_path / "r.json")]) == 0
    assert "ssim" in capsys.readouterr().out
    document = read_document(tmp_path / "r.json")
    assert document["benchmark"] == "eval images"
    assert document["samples"]["ssim"]["runs"][0] == pytest.approx(ssim(blurred, photographs).tolist())
    assert document["summary"]["ssim"] == pytest.approx(ssim(blurred, photographs).mean())
    assert document["results"]["pictures"] == ["a.png", "b.png", "c.png"]
    assert [entry["files"] for entry in document["inputs"]] == [3, 3]


def test_pictures_are_paired_by_name_or_else_in_order(tmp_path: Path, photographs: NDArray[np.uint8]) -> None:
    ours = save(tmp_path / "ours", photographs[:2], ("b", "a"))
    theirs = save(tmp_path / "theirs", photographs)
    assert [(a.name, b.name) for a, b in pair_files(ours, theirs)] == [("a.png", "a.png"), ("b.png", "b.png")]
    numbered = save(tmp_path / "numbered", photographs, ("10", "9", "8"))
    first, reference = next(iter(pair_files(numbered, theirs)))
    assert (first.name, reference.name) == ("8.png", "a.png")
    partly = save(tmp_path / "partly", photographs, ("a", "b", "x"))
    with pytest.raises(ParameterError, match="1 of 3 pictures"):
        list(pair_files(partly, theirs))


def test_a_mistake_is_one_sentence(
    tmp_path: Path, photographs: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = save(tmp_path / "theirs", photographs)
    smaller = save(tmp_path / "smaller", photographs[:, :64])
    for arguments, reason in (
        (["images", str(smaller), str(theirs)], "differ in size, 96x64 and 96x96"),
        (["images", str(tmp_path / "none"), str(theirs)], "no pictures in"),
        (["images", str(theirs), str(theirs), "--style", str(theirs)], "see --weights"),
        (["video", str(theirs), str(theirs), "--frames", "1"], "at least 2"),
        (["video", str(theirs), str(smaller)], "differ in size"),
    ):
        assert cli.main(["eval", *arguments]) == 2
        assert reason in capsys.readouterr().err


def test_flicker_shows_beside_the_original_s_own_change(tmp_path: Path, photographs: NDArray[np.uint8]) -> None:
    names = tuple(f"{number:03d}" for number in range(6))
    still = np.stack([photographs[0]] * 6).astype(np.int16)
    flicker = still + np.array([0, 20] * 3)[:, None, None, None]
    original = save(tmp_path / "original", still.astype(np.uint8), names)
    steady = evaluate_sequence(str(original), str(original))
    unsteady = evaluate_sequence(str(original), str(save(tmp_path / "f", flicker.clip(0, 255).astype(np.uint8), names)))
    assert steady.figures["warping_error_stylized"] == pytest.approx(0.0, abs=1e-6)
    assert unsteady.figures["warping_error_stylized"] == pytest.approx((20 / 255) ** 2, rel=0.1)
