# SPDX-License-Identifier: Apache-2.0
"""The benchmark of optimisers: tuning, steps to the baseline's loss, and its result file."""

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from safetensors.torch import save_file  # noqa: E402

from muon_ad_core.bench import optimizers  # noqa: E402
from muon_ad_core.bench.optimizer_figures import Trial, best_variant, figures  # noqa: E402
from muon_ad_core.bench.optimizer_problems import MaskedTeacher, make_pairs, perceptual_judge  # noqa: E402
from muon_ad_core.bench.optimizer_runs import Run, fluctuation, run_variant, smoothed, tune  # noqa: E402
from muon_ad_core.bench.optimizer_variants import BASELINE, VARIANTS, Variant  # noqa: E402
from muon_ad_core.bench.paper_tables import fill  # noqa: E402
from muon_ad_core.bench.result_file import make_document  # noqa: E402
from muon_ad_core.compress.entropy_masks import EntropyMask  # noqa: E402
from muon_ad_core.distill.features import SqueezeNetFeatures  # noqa: E402
from muon_ad_core.distill.optimisation import Objective  # noqa: E402
from muon_ad_core.distill.teachers.micro import random_teacher  # noqa: E402
from muon_ad_core.errors import ParameterError, UserError  # noqa: E402
from muon_ad_core.nets.micro_teacher import MicroTeacherConfig  # noqa: E402
from muon_ad_core.sources.photographs import load_photograph  # noqa: E402

ADAMW = VARIANTS[0]
SMALL = MicroTeacherConfig(widths=(32, 32), encoder_blocks=(1, 1), decoder_blocks=(2, 1), head=16, time=16)


class Bowl:
    """A problem whose losses are quadratic, so that the answer is known."""

    name = "bowl"
    content_weight = 0.25

    def start(self) -> torch.Tensor:
        return torch.ones(1, 2, 4, 4)

    def objective(self, shifts_per_step: int = 1) -> Objective:
        return lambda latent, step: ((latent - 3).square().mean(), latent.square().mean())

    def masked_objective(self) -> tuple[Objective, EntropyMask]:
        raise NotImplementedError("no attentions here")

    def judge(self, latent: Any) -> Mapping[str, float]:
        return {"mean[bowl]": float(latent.mean())}


def a_run(losses: list[float], seconds: float = 0.1, **changes: Any) -> Run:
    values = dict(conflict_rates=None, backward_passes=len(losses), saved_backward_passes=0, flops_saved=0.0,
                  peak_mb=None, quality={})  # fmt: skip
    return Run(tuple(losses), (seconds,) * len(losses), **{**values, **changes})


def test_losses_are_smoothed_over_the_steps_before() -> None:
    assert smoothed([4.0, 2.0, 3.0], window=2) == [4.0, 3.0, 2.5]
    assert smoothed([1.0, math.inf])[1] == math.inf


def test_steps_and_seconds_to_a_target() -> None:
    run = a_run([10.0, 8.0, 6.0, 4.0, 2.0, 0.0, 0.0])
    assert run.steps_to(6.0) == 5  # the mean of 10, 8, 6, 4 and 2
    assert run.seconds_to(6.0) == pytest.approx(0.5)
    assert run.steps_to(-1.0) is None and run.seconds_to(-1.0) is None


def test_fluctuation_is_what_a_straight_line_does_not_explain() -> None:
    assert fluctuation([float(20 - i) for i in range(20)]) == pytest.approx(0, abs=1e-9)
    assert fluctuation([10.0 + (-1) ** i for i in range(40)]) == pytest.approx(0.1, rel=0.05)


def test_ratios_are_medians_and_runs_that_miss_the_target_count_as_none() -> None:
    base = a_run([4.0] * 90 + [1.0] * 10)
    quick, never = a_run([1.0] * 10, seconds=0.2), a_run([9.0] * 10)
    trials = [Trial("a", seed, {BASELINE: base, "Muon c_hw": run}) for seed, run in enumerate([quick, quick, never])]
    found = figures("Muon c_hw", trials)
    assert (found["reached"], found["trials"], found["iterations_to_target"]) == (2, 3, 1)
    assert found["iterations_ratio"] == pytest.approx(98)  # from there on the mean of eight losses is 1
    assert found["seconds_ratio"] == pytest.approx(98 * 0.1 / 0.2)
    lost = figures("Muon c_hw", [Trial("a", 0, {BASELINE: base, "Muon c_hw": never})])
    assert lost["iterations_ratio"] is None and lost["iterations_to_target"] is None
    still = figures("Muon c_hw", [Trial("a", 0, {BASELINE: a_run([1.0, 2.0]), "Muon c_hw": quick})])
    assert (still["improved"], still["trials"], still["iterations_ratio"]) == (0, 1, None)
    assert best_variant({BASELINE: figures(BASELINE, trials), "Muon c_hw": found}) == "Muon c_hw"


def test_every_variant_may_choose_among_equally_many_rates() -> None:
    assert VARIANTS[0].name == BASELINE
    for variant in VARIANTS:
        assert len(set(variant.rates(5))) == 5
        assert variant.at(variant.centre, 200, 0).steps == variant.run_steps(200)


def test_tuning_takes_the_rate_with_the_lowest_loss_or_the_fewest_steps() -> None:
    rate, finals = tune(ADAMW, [Bowl()], 4, 20, 0, None)
    assert len(finals) == 4 and finals[rate] == min(finals.values())
    target = run_variant(ADAMW, Bowl(), rate, 20, 0).final_loss
    muon = Variant("Muon", {"view": "c_hw"})
    chosen, finals = tune(muon, [Bowl()], 4, 20, 0, [target])
    steps = {rate: run_variant(muon, Bowl(), rate, 20, 0).steps_to(target) or 40 for rate in finals}
    assert steps[chosen] == min(steps.values())


def test_a_run_that_diverges_is_told_by_infinite_losses() -> None:
    class Cliff(Bowl):
        def objective(self, shifts_per_step: int = 1) -> Objective:
            return lambda latent, step: (latent.sum() * (math.nan if step == 2 else 1.0), None)

    run = run_variant(ADAMW, Cliff(), 0.1, 6, 0, judged=True)
    assert [math.isfinite(loss) for loss in run.losses] == [True, True, False, False, False, False]
    assert run.quality == {}


@pytest.fixture(scope="module")
def pairs() -> list[Any]:
    contents = [("coffee", load_photograph("coffee.png"))]
    styles = [("hubble", load_photograph("hubble_deep_field.jpg")), ("retina", load_photograph("retina.jpg"))]
    judge = lambda result, content, style: {"side[test]": float(result.shape[0])}  # noqa: E731
    return make_pairs(random_teacher(SMALL), contents, styles, 32, 8, judge)


def test_problems_of_a_teacher_are_repeatable_and_masked_ones_see_less(pairs: list[Any]) -> None:
    problem = pairs[1](0)
    assert problem.name == "coffee as retina"
    start = problem.start()
    style, content = problem.objective()(start, 3)
    again, _ = pairs[1](0).objective()(problem.start(), 3)
    assert float(style) == float(again) > 0
    assert float(content) == pytest.approx(0, abs=1e-5)
    masked, mask = problem.masked_objective()
    assert 0 < mask.flops_saved < mask.flops
    assert 0 < float(masked(start, 3)[0]) < float(style)


def test_a_masked_teacher_shows_the_chosen_heads() -> None:
    teacher = random_teacher(SMALL)
    latent = teacher.encode(torch.zeros(1, 3, 32, 32))
    whole = teacher.features(latent, 0.4, (0, 2))
    found = MaskedTeacher(teacher, {0: torch.tensor([1]), 2: torch.tensor([0, 1])}).features(latent, 0.4, (0, 2))
    assert torch.equal(found[0].query, whole[0].query[:, 1:2])
    assert torch.equal(found[1].output, whole[1].output)


def test_the_losses_of_masked_and_predicted_steps_are_those_of_all_sites(pairs: list[Any]) -> None:
    problem, last = pairs[0](0), VARIANTS[-1]
    assert last.masked and last.settings["prediction"] == "network"
    run = run_variant(last, problem, 1e-6, 24, 0, judged=True)
    plain = run_variant(Variant("still", {"optimizer": "adam"}, share=last.share), problem, 1e-9, 24, 0)
    # Neither moves, so both see the loss of the start.
    assert run.losses == pytest.approx(plain.losses, rel=1e-3)
    assert run.flops_saved > 0
    assert run.quality == {"side[test]": 32.0}


def test_the_judge_tells_style_and_content_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SqueezeNetFeatures().state_dict()
    save_file({k: v for k, v in network.items() if k.startswith("features.")}, tmp_path / "features.safetensors")
    judge = perceptual_judge(tmp_path / "features.safetensors")
    content, style = load_photograph("coffee.png")[:96, :128], load_photograph("retina.jpg")[:112, :96]
    unchanged, copied = judge(content, content, style), judge(style[:96], content[:, :96], style[:96])
    assert unchanged["content_LPIPS[squeeze]"] < 1e-6 < copied["content_LPIPS[squeeze]"]
    assert copied["style_distance[squeeze]"] < 1e-6 < unchanged["style_distance[squeeze]"]


def test_a_comparison_fits_the_result_file_and_the_paper(pairs: list[Any]) -> None:
    chosen = optimizers.choose_variants(["Muon patch", "... + projection"])
    assert chosen[0].name == BASELINE and len(chosen) == 3
    lines: list[str] = []
    trials, rates = optimizers.compare(chosen, pairs, seeds=1, steps=6, rates=2, report=lines.append)
    assert len(trials) == 2 and set(rates) == {variant.name for variant in chosen} and len(lines) == 5
    measurement = optimizers.describe(trials, {"learning_rates": rates}, {"seconds_512": 1.5, "peak_mb_512": 900.0})
    document = make_document(
        "optimizers", {"processor": "x", "processors": 1, "muon_ad": "0", "python": "3"}, measurement
    )
    summary = json.loads(json.dumps(document))["summary"]
    assert {"iterations_ratio", "seconds_ratio", "seconds_512", "peak_mb_512", "conflict_rate"} <= set(summary)
    assert summary["best"] in {"Muon patch", "... + projection"}
    assert set(document["results"]["variants"]) == set(rates)
    assert all(len(run) == 6 for run in document["samples"][f"loss by target, {BASELINE}"]["runs"])
    assert "conflicts" in measurement.text
    table = next(entry for entry in fill({"optimizers": document}) if entry["title"].startswith("Table IV"))
    assert any(row[3] != "–" for row in table["rows"])


@pytest.mark.parametrize(("wrong", "message"), [
    (["--steps", "0"], "--steps"), (["--size", "33"], "multiple of"), (["--only", "Adagrad"], "no variant"),
])  # fmt: skip
def test_wrong_options_are_refused(wrong: list[str], message: str) -> None:
    parser = argparse.ArgumentParser()
    optimizers.add_arguments(parser)
    args = parser.parse_args(["--teacher", "random", "--no-large", *wrong])
    with pytest.raises(ParameterError, match=message):
        optimizers.measure(args)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    optimizers.add_arguments(parser)
    args = parser.parse_args(["--teacher", "random", "--no-large", "--contents", str(tmp_path)])
    with pytest.raises(UserError, match="no pictures"):
        optimizers.measure(args)
