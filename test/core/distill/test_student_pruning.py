# SPDX-License-Identifier: Apache-2.0
"""Pruned students: their shape, their answer, and the command that makes them."""

import argparse
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
pytest.importorskip("onnx", reason="the making wing needs onnx")

from muon_ad_core.cli import main  # noqa: E402
from muon_ad_core.commands import train  # noqa: E402
from muon_ad_core.compress.pruning import ChannelPruner  # noqa: E402
from muon_ad_core.distill import student_latency  # noqa: E402
from muon_ad_core.distill.shared_codes import with_codes_of  # noqa: E402
from muon_ad_core.distill.student_package import load_student, write_student_package  # noqa: E402
from muon_ad_core.distill.student_pruning import (  # noqa: E402
    BODY,
    StudentGroups,
    config_of,
    prune_at_once,
    student_macs,
    without_blocks,
)
from muon_ad_core.distill.student_trainer import StudentTrainer, StudentTraining, StyledStudent  # noqa: E402
from muon_ad_core.engine.merge import merge_levels  # noqa: E402
from muon_ad_core.engine.package import EnginePackage  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402
from muon_ad_core.nets.student import StudentConfig  # noqa: E402
from muon_ad_core.stylize import Stylizer  # noqa: E402

CONFIG = StudentConfig(width=64, blocks=3, quarter_width=16, half_width=16, code=8)
PICTURE, CODE = torch.rand(1, 3, 32, 48) * 2 - 1, torch.linspace(-1, 1, 8)[None]


@pytest.fixture()
def network() -> StyledStudent:
    torch.manual_seed(0)
    found = StyledStudent(CONFIG, 2).eval()
    for parameter in found.student.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return found


@pytest.mark.parametrize("method", ["magnitude", "random", "layerdrop"])
@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_a_pruned_student_does_less_and_still_paints(network: StyledStudent, method: str, rate: float) -> None:
    pruned = prune_at_once(network, rate, method, seed=1).eval()
    assert student_macs(pruned.student.config) <= (1 - rate) * student_macs(CONFIG)
    assert all(width % 32 == 0 for width in (pruned.student.config.width, *pruned.student.config.inner_widths))
    for level in ("fast", "fine"):
        assert pruned.student(PICTURE, CODE, level).shape == PICTURE.shape


def test_silenced_channels_can_be_removed_without_a_change(network: StyledStudent) -> None:
    groups = StudentGroups(network)
    pruner = ChannelPruner(groups, {group.name: group.width // 2 for group in groups.groups})
    pruner.choose({name: torch.rand(64) for group in groups.groups for name in group.layers}, 1.0)
    pruner.silence(network)
    expected = network.student(PICTURE, CODE)
    pruner.remove()
    pruned = without_blocks(network, ())
    assert pruned.student.config == replace(CONFIG, width=32)
    torch.testing.assert_close(pruned.student(PICTURE, CODE), expected, rtol=1e-3, atol=1e-3)


def test_sizes_survive_the_manifest() -> None:
    config = replace(CONFIG, inner=(64, 32, 32))
    assert StudentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    older = {key: value for key, value in CONFIG.to_dict().items() if key != "inner"}
    assert StudentConfig.from_dict(older) == CONFIG
    with pytest.raises(ValueError, match="3 blocks"):
        replace(CONFIG, inner=(64,))


def test_a_group_without_channels_is_no_block() -> None:
    widths = {BODY: 64, "student.body.0.first": 32, "student.body.1.first": 0, "student.body.2.first": 64}
    assert config_of(CONFIG, widths) == replace(CONFIG, blocks=2, inner=(32, 64))


def test_a_measured_time_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_latency, "RUNS", 1)
    small = StudentConfig(width=32, blocks=2, quarter_width=16, half_width=16, code=8, inner=(64, 32))
    measured = student_latency.MeasuredLatency(tmp_path / "latencies.json", 1)(small)
    assert measured > 0
    monkeypatch.setattr(student_latency.MeasuredLatency, "_measure", None)  # must not be called again
    again = student_latency.MeasuredLatency(tmp_path / "latencies.json", 1)
    assert again(replace(small, inner=(32, 64))) == measured


def test_the_command_prunes_and_keeps_the_codes(
    painting_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muon_ad_core.distill.student_graphs.CALIBRATION_FRAMES", 4)
    monkeypatch.setattr("muon_ad_core.distill.student_graphs.CALIBRATION_SIDE", 64)
    monkeypatch.setattr("muon_ad_core.distill.student_pruning.JUDGING_BATCHES", 1)
    monkeypatch.setattr(student_latency.MeasuredLatency, "_measure", lambda self, config: float(student_macs(config)))
    data = {"photos": painting_data / "photos", "styles": painting_data / "styles"}
    features = painting_data / "features.safetensors"
    recipe = StudentTraining(
        **data,
        features=features,
        shipped=["styles_0", "styles_2"],
        steps=1,
        crop=80,
        max_shift=16,
        style_side=96,
        network=CONFIG,
    )
    write_student_package(StudentTrainer(recipe), tmp_path / "whole", "0.0.1", report=lambda text: None)
    whole = EnginePackage.load(tmp_path / "whole")
    command = ["train", "student", "--photos", str(data["photos"]), "--styles", str(data["styles"]), "--features",
               str(features), "--start", str(whole.root), "--prune", "0.4", "--steps", "8", "--crop", "80",
               "--max-shift", "16", "--run", str(tmp_path / "run"), "--output", str(tmp_path / "pruned")]  # fmt: skip
    assert main(command) == 0
    pruned = EnginePackage.load(tmp_path / "pruned")
    assert pruned.manifest["pruning"] == {"method": "gradual", "rate": 0.4, "start": "whole 0.0.1"}
    assert "--prune 0.4 --prune-method gradual --steps 8 " in (pruned.root / "README.md").read_text()
    small = load_student(pruned).student.config
    assert student_macs(small) <= 0.6 * student_macs(CONFIG)
    assert pruned.level("fine").macs < whole.level("fine").macs
    codes = [Stylizer(package).style("styles_2").code for package in (whole, pruned)]
    np.testing.assert_allclose(codes[0], codes[1], atol=0.02)  # weights go through float16
    assert main(command) == 0  # the run is at its end: nothing but the package is made again

    # The whole student learns other codes, and the pruned level is trained on to paint by them.
    merged = merge_levels(whole, [pruned], tmp_path / "merged", ["small=fine_40", "fine"])
    other_order = recipe.shipped[::-1]
    further = StudentTrainer(replace(recipe, shipped=other_order, standardised=False, leak=0.0, steps=2, seed=1))
    further.start_from(load_student(whole), recipe.shipped)
    further.run(lambda losses: None)
    with torch.no_grad():
        further.average.offsets += 0.5
    write_student_package(further, tmp_path / "further", "0.0.2", report=lambda text: None)
    at = command.index("--start")
    again = [*command[:at], "--start", str(merged.root), "--start-level", "small", "--codes", str(tmp_path / "further"),
             *command[command.index("--steps") :]]  # fmt: skip
    again[again.index("--run") + 1], again[again.index("--output") + 1] = str(tmp_path / "on"), str(tmp_path / "new")
    assert main(again) == 0
    new, further_package = EnginePackage.load(tmp_path / "new"), EnginePackage.load(tmp_path / "further")
    assert load_student(new).student.config == small
    assert new.manifest["pruning"] == pruned.manifest["pruning"]
    known, learned, old = (Stylizer(package).style("styles_2").code for package in (new, further_package, whole))
    np.testing.assert_allclose(known, learned, atol=0.02)
    assert np.abs(known - old).max() > 0.3
    both = merge_levels(further_package, [new], tmp_path / "both", ["small=fine_40", "fine"])
    assert [level.name for level in both.levels] == ["small", "fine"]
    whole_run, small_run = _printed_runs((both.root / "README.md").read_text())
    assert (whole_run.steps, whole_run.crop, whole_run.start, whole_run.ship) == (2, 80, None, other_order)
    assert (small_run.start, small_run.start_level, small_run.codes) == ("merged-0.0.1", "small", "further-0.0.2")
    assert small_run.content_weight == recipe.weights.content and small_run.seed == 0


def _printed_runs(card: str) -> list[argparse.Namespace]:
    """The commands that a card gives to train again, as the command line understands them."""
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    indented = "\n".join(line for line in card.splitlines() if line.startswith("    "))
    commands = indented.replace("\\\n", " ").splitlines()
    return [parser.parse_args(shlex.split(each)[2:]) for each in commands if "train student" in each]


def test_codes_of_another_shape_are_refused(network: StyledStudent) -> None:
    with pytest.raises(UserError, match="do not fit a student of 2 styles with 8"):
        with_codes_of(network, StyledStudent(replace(CONFIG, code=4), 2))
    with pytest.raises(UserError, match="codes of 3 styles"):
        with_codes_of(network, StyledStudent(CONFIG, 3))


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--prune", "0.4"], "--start PACKAGE"),
        (["--prune", "1.5", "--start", "student"], "between 0 and 1"),
        (["--prune", "0.4", "--start", "student", "--prune-method", "best"], "unknown pruning method"),
        (["--start", "student", "--width", "64"], "leave out --width"),
        (["--codes", "student"], "--start PACKAGE"),
        (["--crop", "40"], "at least 64 pixels, not 40"),
        (["--start", "student", "--start-level", "tiny"], "tiny"),
        (["--shipped-share", "2"], "--shipped-share must be from 0 to 1"),
        (["--local-contrast", "1.1"], "--local-contrast must be from 0 to 1"),
    ],
)
def test_mistakes_get_one_sentence(
    painting_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    common = ["--photos", str(painting_data / "photos"), "--styles", str(painting_data / "styles"), "--features",
              str(painting_data / "features.safetensors"), "--run", str(tmp_path), "--steps", "1"]  # fmt: skip
    assert main(["train", "student", *common, *arguments]) == 2
    assert sentence in capsys.readouterr().err
