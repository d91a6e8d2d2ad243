# SPDX-License-Identifier: Apache-2.0
"""The benchmark of synthesis: comparison at equal content, the control, and the whole command on small pictures."""

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.bench import synthesis  # noqa: E402
from muon_ad_core.bench.picture_pairs import evenly_chosen, mixed_pairs  # noqa: E402
from muon_ad_core.bench.result_file import make_document  # noqa: E402
from muon_ad_core.bench.synthesis_figures import Painted, PairResult, style_at, summarise, table  # noqa: E402
from muon_ad_core.bench.synthesis_methods import Method, colour_moments  # noqa: E402
from muon_ad_core.distill.teachers import loader  # noqa: E402
from muon_ad_core.distill.teachers.micro import random_teacher  # noqa: E402
from muon_ad_core.errors import ParameterError  # noqa: E402
from muon_ad_core.metrics.detector_style import DetectorStyle  # noqa: E402
from muon_ad_core.nets.micro_teacher import MicroTeacherConfig  # noqa: E402

SMALL = MicroTeacherConfig(block=4, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), head=16, time=8)
UNCHANGED = Painted(0.0, 0.0, {"x": 2.0})


def painted(*points: tuple[float, float]) -> list[Painted]:
    return [Painted(1.0, content, {"x": style}) for content, style in points]


@pytest.mark.parametrize(("content", "expected"), [
    (0.0, 2.0),  # nothing was changed
    (0.1, 1.5),  # half way to the first picture
    (0.3, 0.75),
    (0.9, 0.5),  # it never goes so far, its strongest counts
])  # fmt: skip
def test_style_at_a_content_distance_lies_on_the_curve(content: float, expected: float) -> None:
    assert style_at(painted((0.4, 0.5), (0.2, 1.0)), UNCHANGED, content, "x") == pytest.approx(expected)


def test_a_method_that_gets_worse_is_taken_at_its_best() -> None:
    assert style_at(painted((0.2, 3.0), (0.4, 2.5)), UNCHANGED, 0.4, "x") == 2.0
    assert style_at(painted((0.2, 1.0), (0.4, 2.5)), UNCHANGED, 0.4, "x") == 1.0


def test_methods_are_compared_at_our_picture_of_middle_strength() -> None:
    ours, other = painted((0.1, 1.6), (0.2, 1.0), (0.3, 0.5)), painted((0.4, 1.0), (0.8, 1.0))
    rows = table([PairResult("a", UNCHANGED, {"teacher": ours, "colour moments": other})], "teacher")
    assert rows["teacher"]["x, equal content"] == pytest.approx(1.0)
    assert rows["colour moments"]["x, equal content"] == pytest.approx(1.5)
    assert rows["colour moments"]["x, better than ours"] == 0
    summary = summarise(rows, "teacher", ["x"])
    assert summary["x_by_colour_moments"] == pytest.approx(1 / 1.5) and summary["content"] == pytest.approx(0.2)


def test_first_pairs_have_different_photographs_and_styles() -> None:
    blank = np.zeros((2, 2, 3), np.uint8)
    contents, styles = ([(f"{kind}{i}", blank) for i in range(n)] for kind, n in (("c", 4), ("s", 3)))
    names = [(content, style) for (content, _), (style, _) in mixed_pairs(contents, styles)]
    assert len(set(names)) == 12
    assert {c for c, _ in names[:4]} == {"c0", "c1", "c2", "c3"} and {s for _, s in names[:4]} == {"s0", "s1", "s2"}
    assert [name for name, _ in evenly_chosen(contents, 2)] == ["c0", "c2"]


def test_colour_moments_go_from_the_photograph_to_the_styles_palette() -> None:
    content, style = np.full((8, 8, 3), 40, np.uint8), np.full((8, 8, 3), 160, np.uint8)
    method = colour_moments()
    assert [int(method.paint(content, style, share).mean()) for share in (0.0, 0.5, 1.0)] == [40, 100, 160]


def test_the_control_has_the_teachers_shape_and_other_weights() -> None:
    teacher = random_teacher(SMALL, seed=5)
    control = teacher.untrained(0)
    latent = teacher.encode(torch.rand(1, 3, 32, 32))
    assert control.sites == teacher.sites and control.stride == teacher.stride
    found, other = (t.features(latent, 0.4, (0,))[0].output for t in (teacher, control))
    assert found.shape == other.shape and not torch.allclose(found, other)
    same = random_teacher(SMALL, seed=5).untrained(0).features(latent, 0.4, (0,))[0].output
    assert torch.equal(other, same)


@pytest.fixture()
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    monkeypatch.setattr(loader, "load_micro_teacher", lambda folder, fast: random_teacher(SMALL))
    monkeypatch.setattr(loader, "find_engine", lambda name: Path(name))
    random = np.random.default_rng(0)
    for folder in ("contents", "styles"):
        (tmp_path / folder).mkdir()
        for index in range(2):
            small = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
            big = cv2.resize(small, (70, 50), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), big)
    parser = argparse.ArgumentParser()
    synthesis.add_arguments(parser)
    folders = ["--contents", str(tmp_path / "contents"), "--styles", str(tmp_path / "styles")]
    return parser.parse_args([*folders, "--size", "64", "--steps", "2", "--sheet", str(tmp_path / "sheet.png")])


def test_the_benchmark_paints_every_pair_by_every_method(arguments: argparse.Namespace) -> None:
    arguments.controls = 1
    measurement = synthesis.measure(arguments)
    facts = {"processor": "x", "processors": 1, "muon_ad": "0", "python": "3"}
    document = make_document("synthesis", facts, measurement)
    assert set(document["results"]["methods"]) == {"teacher", "random 0", "colour moments"}
    assert len(document["results"]["pairs"]) == 4 and document["config"]["content"] == "1 - SSIM"
    assert {"sliced_wasserstein_by_random_0", "style_distance[detector]_by_random_0"} <= set(
        json.loads(json.dumps(document))["summary"]
    )
    assert "no --weights" in measurement.text
    sheet = cv2.imread(str(arguments.sheet))
    assert sheet.shape == (4 * 68, 5 * 68, 3)
    assert document["pictures"][0]["caption"].startswith("Columns: photograph, style, teacher")


def test_stronger_pictures_than_are_compared_are_not_painted() -> None:
    def method(name: str, *shares: float) -> Method:
        return Method(name, shares, lambda content, style, share: cv2.addWeighted(content, 1 - share, style, share, 0))

    content, style = (np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8) for seed in (0, 1))
    methods = [method("teacher", 0.1, 0.4, 0.9), method("careful", 0.1, 0.2, 0.6), method("wild", 0.3, 0.6, 0.9)]
    (result,), rows = synthesis.compare(methods, [(("c", content), ("s", style))], 64, None, DetectorStyle())
    assert {name: [p.strength for p in curve] for name, curve in result.painted.items()} == {
        "teacher": [0.1, 0.4], "careful": [0.1, 0.2, 0.6], "wild": [0.3, 0.6],
    }  # fmt: skip
    assert np.array_equal(rows[0][2], cv2.addWeighted(content, 0.6, style, 0.4, 0))


def test_a_run_goes_on_where_it_stopped(
    arguments: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments.controls, arguments.run_folder, arguments.pairs = 0, tmp_path / "run", 2
    paint, painted = synthesis._paint_pair, []
    monkeypatch.setattr(synthesis, "_paint_pair", lambda name, *rest: painted.append(name) or paint(name, *rest))
    first = synthesis.measure(arguments)
    assert len(painted) == 2
    arguments.pairs = 0
    whole = synthesis.measure(arguments)
    assert len(painted) == len(set(painted)) == 4
    assert whole.results["pairs"][:2] == first.results["pairs"]
    assert cv2.imread(str(arguments.sheet)).shape == (4 * 68, 4 * 68, 3)
    (arguments.run_folder / f"{painted[3]}.json").write_text("{", encoding="utf-8")  # broken off
    again = synthesis.measure(arguments)
    assert painted[4:] == [painted[3]] and len(again.results["pairs"]) == 4
    shutil.copy(arguments.styles / "1.png", arguments.styles / "0.png")  # another picture of the same name
    synthesis.measure(arguments)
    assert sorted(painted[5:]) == ["0 as 0", "1 as 0"]
    arguments.steps = 3
    with pytest.raises(ParameterError, match="other settings"):
        synthesis.measure(arguments)


def test_wrong_options_are_refused(arguments: argparse.Namespace) -> None:
    arguments.photos = 0
    with pytest.raises(ParameterError, match="--photos"):
        synthesis.measure(arguments)
