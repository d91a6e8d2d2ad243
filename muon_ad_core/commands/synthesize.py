# SPDX-License-Identifier: Apache-2.0
"""Paint a photograph in the style of paintings, or a texture of them where --content is left out.

The picture is optimised until a teacher's self-attentions find the style in it (attention distillation). Needs PyTorch:
pip install -r requirements/train.txt. Ctrl-C keeps what is done; the same command with --resume goes on from there.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from muon_ad_core.errors import ParameterError, UserError

if TYPE_CHECKING:
    from muon_ad_core.distill.synthesis import Progress, Synthesis, Synthesized
    from muon_ad_core.distill.synthesis_settings import SynthesisSettings

SAVE_EVERY = 20
OPTIMIZERS = ("adam", "adamw", "sgd", "muon")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--content", type=Path, metavar="PICTURE", help="what is painted; left out: a texture")
    parser.add_argument("--style", type=Path, nargs="+", required=True, metavar="PICTURE", help="style pictures")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PICTURE", help="where to write the result")
    parser.add_argument(
        "--teacher", default="teacher",
        help="a package's name or folder, 'random' (an untrained control), or a diffusers folder or hub id",
    )  # fmt: skip
    parser.add_argument("--size", type=int, default=512, help="longer side in pixels (default %(default)s)")
    parser.add_argument("--steps", type=int, default=64, help="steps of all sizes together (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="everything random follows from it (default %(default)s)")
    parser.add_argument("--content-weight", type=float, metavar="LAMBDA",
                        help="weight of content (default 1, in latents 0.25)")  # fmt: skip
    parser.add_argument("--patch-weight", type=float, metavar="WEIGHT",
                        help="of the style's patches in the style loss (default 100, in latents 0)")  # fmt: skip
    parser.add_argument("--distribution-weight", type=float, metavar="WEIGHT",
                        help="of the style's colours and perceptual features (default 60, in latents 0)")  # fmt: skip
    parser.add_argument("--perception-weight", type=float, metavar="WEIGHT",
                        help="of perceptual features in the content loss (default 8, in latents 0)")  # fmt: skip
    help_scale = "size of the style relative to the result; below 1 strokes are finer (default 1)"
    parser.add_argument("--style-scale", type=float, default=1.0, metavar="FACTOR", help=help_scale)
    parser.add_argument("--mask", type=Path, metavar="PICTURE", help="regions of the result, one flat grey each")
    help_style_mask = "regions of each style picture; left out: a style picture a region, dark to light"
    parser.add_argument("--style-mask", type=Path, nargs="+", default=[], metavar="PICTURE", help=help_style_mask)
    parser.add_argument("--tile", action="store_true", help="opposite borders fit together, as in a wallpaper")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="update rule (default muon, in latents adam)")
    parser.add_argument("--learning-rate", type=float, help="its step size (default: the optimiser's)")
    parser.add_argument("--projection", choices=("off", "plain", "second_moment"), default="off",
                        help="take out of the style's gradient what works against content (default off)")  # fmt: skip
    parser.add_argument("--conflicts", action="store_true", help="show how often style and content conflict (slower)")
    parser.add_argument("--target", choices=("pyramid", "latent"), help="what is optimised (default: the teacher's)")
    parser.add_argument("--sites", type=int, nargs="+", help="self-attentions to look at (default: the last six)")
    parser.add_argument("--style-loss", choices=("ad_l1", "kl_literal"), default="ad_l1")
    parser.add_argument("--preview-every", nargs=2, metavar=("N", "FOLDER"), help="write the picture every N steps")
    parser.add_argument("--resume", action="store_true", help="go on with the run that was interrupted")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")


def run(args: argparse.Namespace) -> int:
    """Check everything a user can get wrong before the long part begins."""
    if importlib.util.find_spec("torch") is None:
        raise UserError("muon-ad synthesize needs PyTorch: pip install -r requirements/train.txt")
    import torch

    from muon_ad_core.distill.picture_files import check_writable
    from muon_ad_core.distill.synthesis import Synthesis
    from muon_ad_core.distill.synthesis_inputs import SynthesisInputs
    from muon_ad_core.distill.teachers.loader import load_teacher

    check_writable(args.output)
    preview = _preview(args.preview_every)
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = _settings(args, "pyramid")
    inputs = SynthesisInputs.read(args.style, args.content, settings, args.mask, args.style_mask)
    teacher = load_teacher(args.teacher, seed=args.seed)
    synthesis = Synthesis(teacher, inputs, _settings(args, teacher.target))
    checkpoint = args.output.with_name(args.output.name + ".checkpoint")
    if args.resume:
        if not checkpoint.is_file():
            raise UserError(f"there is nothing to resume at {checkpoint}: leave out --resume")
        synthesis.load(checkpoint)
    try:
        result = _run(synthesis, checkpoint, preview)
    except KeyboardInterrupt:
        synthesis.save(checkpoint)
        print(f"stopped at step {synthesis.step} of {synthesis.steps}: go on with --resume")
        raise
    result.save(args.output)
    checkpoint.unlink(missing_ok=True)
    print(f"{args.output}: {result.seconds:.1f} s, at most {result.peak_mb:.0f} MB of memory")
    return 0


def _settings(args: argparse.Namespace, target: str) -> SynthesisSettings:
    from dataclasses import replace

    from muon_ad_core.distill.synthesis_settings import SynthesisSettings, default_objective, default_optimisation

    target = args.target or target
    chosen = {
        "learning_rate": args.learning_rate, "content_weight": args.content_weight, "optimizer": args.optimizer,
    }  # fmt: skip
    changes = {name: value for name, value in chosen.items() if value is not None}
    if args.optimizer and args.learning_rate is None:
        changes["learning_rate"] = None
    try:
        optimisation = replace(
            default_optimisation(target), projection=args.projection, measure_conflicts=args.conflicts, **changes
        )
    except ValueError as error:
        raise ParameterError(f"{error}") from None
    objective = replace(
        default_objective(target), style_loss=args.style_loss, tile=args.tile,
        sites=None if args.sites is None else tuple(args.sites),
    )  # fmt: skip
    weights = {name: getattr(args, name) for name in ("patch_weight", "distribution_weight", "perception_weight")}
    objective = replace(objective, **{name: weight for name, weight in weights.items() if weight is not None})
    return SynthesisSettings(
        size=args.size, steps=args.steps, style_scale=args.style_scale, seed=args.seed, objective=objective,
        optimisation=optimisation,
    )  # fmt: skip


def _preview(argument: list[str] | None) -> tuple[int, Path] | None:
    if argument is None:
        return None
    if not argument[0].isdecimal() or int(argument[0]) < 1:
        raise ParameterError(f"--preview-every wants a number of steps and a folder, not {' '.join(argument)}")
    folder = Path(argument[1])
    folder.mkdir(parents=True, exist_ok=True)
    return int(argument[0]), folder


def _run(synthesis: Synthesis, checkpoint: Path, preview: tuple[int, Path] | None) -> Synthesized:
    """To the end, with a progress bar, previews and checkpoints."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    from muon_ad_core.distill.picture_files import write_rgb

    with Bar(BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")) as bar:
        task = bar.add_task("", total=synthesis.steps, completed=synthesis.step)

        def after_step(progress: Progress) -> None:
            bar.update(task, completed=progress.step, description=_describe(progress))
            if preview is not None and progress.step % preview[0] == 0:
                write_rgb(preview[1] / f"step_{progress.step:05d}.png", synthesis.picture())
            if progress.step % SAVE_EVERY == 0:
                synthesis.save(checkpoint)

        return synthesis.run(after_step)


def _describe(progress: Progress) -> str:
    statistics = progress.statistics
    parts = [f"{progress.size[1]}x{progress.size[0]}"]
    if statistics.loss is not None:
        parts.append(f"loss {statistics.loss:.3f}")
    if statistics.conflict_rate is not None:
        parts.append(f"conflicts {statistics.conflict_rate:.0%}")
    return "  ".join([*parts, f"{progress.seconds_left:.0f} s left"])
