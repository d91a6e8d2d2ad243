# SPDX-License-Identifier: Apache-2.0
"""Training of the student and its style encoder on folders of photographs and styles."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from muon_ad_core.distill.features import load_feature_network
from muon_ad_core.distill.losses import (
    Moments,
    concatenate,
    content_distance,
    lattice_penalty,
    moment_distance,
    moments,
    shift_difference,
    total_variation,
)
from muon_ad_core.distill.muon import Muon
from muon_ad_core.distill.pictures import (
    PhotoFolder,
    StylePicture,
    list_pictures,
    list_styles,
    random_crop,
    read_picture,
    resize_long_side,
    to_picture,
    to_tensor,
)
from muon_ad_core.errors import UserError
from muon_ad_core.nets.student import LEVELS, Student, StudentConfig
from muon_ad_core.nets.style_encoder import ENCODER_SIZE, StyleEncoder

STYLE_TAPS = (1, 4, 7, 9)
CONTENT_TAP = 6
MAX_SHIFT = 12
"""Largest shift in pixels between the two views of a photograph."""


@dataclass
class StudentTraining:
    """Everything a training run depends on.

    photos, styles, extra_styles: folders; shipped: names of the styles that go into the package (drawn with
    probability `shipped_share`, the rest teach the encoder what styles are); steps: optimiser steps; batch: photographs
    a step, each seen in two shifted views; *_weight: factors of the losses; data_note: where the pictures come from and
    under which licences, for the model card.
    """

    photos: Path
    styles: Path
    features: Path
    run: Path
    shipped: list[str]
    extra_styles: Path | None = None
    steps: int = 20_000
    batch: int = 2
    crop: int = 256
    style_side: int = 448
    shipped_share: float = 0.8
    lr: float = 1e-3
    adamw_lr: float = 1.5e-3
    weight_decay: float = 0.02
    decay_share: float = 0.3
    ema: float = 0.998
    style_weight: float = 6.0
    content_weight: float = 1.0
    lattice_weight: float = 100.0
    steady_weight: float = 3.0
    variation_weight: float = 0.02
    noise: float = 0.03
    data_note: str = ""
    seed: int = 0
    threads: int = 1
    save_every: int = 250
    sheet_every: int = 1000
    validation: Path | None = None
    network: StudentConfig = field(default_factory=StudentConfig)


class StyledStudent(nn.Module):
    """Student, encoder and one learned offset per shipped style, trained together.

    The code of a shipped style is the encoder's code plus its offset, so it can say more than one pass of the encoder
    sees, while the encoder alone serves unseen pictures.
    """

    def __init__(self, config: StudentConfig, shipped: int) -> None:
        super().__init__()
        self.student = Student(config)
        self.encoder = StyleEncoder(config.code)
        # Far apart from the start: from equal codes the styles take thousands of steps to part.
        self.offsets = nn.Parameter(torch.randn(shipped, config.code))

    def code(self, pictures: Tensor, indices: Tensor) -> Tensor:
        """Codes of style pictures (B, 3, E, E); indices (B,) name the shipped style, -1 for none."""
        known = (indices >= 0).float()[:, None]
        return self.encoder(pictures) + known * self.offsets[indices.clamp(min=0)]


class StudentTrainer:
    """One resumable, seeded training run that writes checkpoints, a log and validation sheets to its run folder."""

    def __init__(self, config: StudentTraining) -> None:
        self.config = config
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        config.run.mkdir(parents=True, exist_ok=True)
        self.features = load_feature_network(config.features)
        self.photos = PhotoFolder(config.photos)
        self.styles = _ordered_styles(config)
        self.style_pictures = [style.read() for style in self.styles]
        self.targets = [self._style_target(picture) for picture in self.style_pictures]
        self.model = StyledStudent(config.network, len(config.shipped))
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimiser = Muon(
            _parameter_groups(self.model),
            lr=config.lr,
            adamw_lr=config.adamw_lr,
            weight_decay=config.weight_decay,
        )
        self.step = 0
        if self.checkpoint_path.is_file():
            self._resume()

    @property
    def checkpoint_path(self) -> Path:
        """Where the run can be taken up again."""
        return self.config.run / "checkpoint.pt"

    def train(self, report: Callable[[int, dict[str, float]], None]) -> None:
        """Run to the last step; `report` gets the step and the mean losses since the last report."""
        sums: dict[str, float] = {}
        started, count = time.monotonic(), 0
        while self.step < self.config.steps:
            for name, value in self._train_step().items():
                sums[name] = sums.get(name, 0.0) + value
            self.step, count = self.step + 1, count + 1
            if self.step % 50 == 0:
                row = {name: value / count for name, value in sums.items()}
                row["seconds_per_step"] = (time.monotonic() - started) / count
                self._log(row)
                report(self.step, row)
                sums, started, count = {}, time.monotonic(), 0
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self._save()
            if self.config.validation and self.step % self.config.sheet_every == 0:
                self.write_sheet(self.config.run / f"sheet_{self.step:06d}.jpg")

    def style_codes(self) -> dict[str, np.ndarray]:
        """Codes (code,) float32 of the shipped styles under the averaged weights."""
        found = {}
        with torch.no_grad():
            for index, name in enumerate(self.config.shipped):
                picture = to_tensor([_encoder_view(self.style_pictures[index])])
                found[name] = self.average.code(picture, torch.tensor([index]))[0].numpy()
        return found

    def write_sheet(self, path: Path) -> None:
        """A contact sheet: validation photos (rows) under the shipped styles (columns), both levels."""
        assert self.config.validation is not None
        photos = [read_picture(p) for p in list_pictures(self.config.validation)[7:160:40]]
        codes = self.style_codes()
        rows = []
        for photo in photos:
            if photo is None:
                continue
            picture = cv2.resize(photo, (320, 240), interpolation=cv2.INTER_AREA)
            for level in LEVELS:
                cells = [picture if level == "fast" else np.full_like(picture, 255)]
                with torch.no_grad():
                    for code in codes.values():
                        painted = self.average.student(to_tensor([picture]), torch.from_numpy(code)[None], level)
                        cells.append(to_picture(painted[0]))
                rows.append(np.concatenate(cells, axis=1))
        sheet = np.concatenate(rows, axis=0)
        cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])

    def _style_target(self, picture: np.ndarray) -> list[Moments]:
        resized = to_tensor([resize_long_side(picture, self.config.style_side)])
        with torch.no_grad():
            found = self.features(resized.contiguous(memory_format=torch.channels_last), STYLE_TAPS)
        return [moments(resized)] + [moments(found[tap]) for tap in STYLE_TAPS]

    def _draw_styles(self, random: np.random.Generator) -> tuple[list[int], Tensor]:
        shipped, known = self.config.batch, len(self.config.shipped)
        indices = []
        for _ in range(shipped):
            other = known < len(self.styles) and random.random() >= self.config.shipped_share
            indices.append(int(random.integers(known, len(self.styles)) if other else random.integers(known)))
        views = [random_crop(self.style_pictures[i], ENCODER_SIZE, (1.0, 1.3), random) for i in indices]
        return indices, to_tensor(views)

    def _draw_views(self, random: np.random.Generator) -> tuple[Tensor, Tensor, tuple[int, int]]:
        side = self.config.crop
        crops = to_tensor([self.photos.draw(side + MAX_SHIFT, random) for _ in range(self.config.batch)])
        row, column = (int(v) for v in random.integers(0, MAX_SHIFT + 1, 2))
        first, second = crops[:, :, :side, :side], crops[:, :, row : row + side, column : column + side]
        spread = self.config.noise * random.random()
        noise = torch.from_numpy(random.standard_normal((2, *first.shape), dtype=np.float32)) * spread
        return (first + noise[0]).clamp(-1, 1), (second + noise[1]).clamp(-1, 1), (row, column)

    def _train_step(self) -> dict[str, float]:
        # One generator a step: a resumed run draws exactly what an uninterrupted one would have drawn.
        random = np.random.default_rng((self.config.seed, self.step))
        indices, style_views = self._draw_styles(random)
        first, second, shift = self._draw_views(random)
        target = [concatenate([self.targets[i][tap] for i in indices] * 2) for tap in range(len(STYLE_TAPS) + 1)]
        known = torch.tensor([i if i < len(self.config.shipped) and random.random() < 0.8 else -1 for i in indices])
        for group in self.optimiser.param_groups:
            factor = self._rate_factor()
            group["lr"], group["adamw_lr"] = self.config.lr * factor, self.config.adamw_lr * factor
        with torch.autocast("cpu", torch.bfloat16):
            painted = _soft_clamp(self._paint(first, second, self.model.code(style_views, known)))
            losses = self._losses(painted, torch.cat([first, second]), target, shift)
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimiser.step()
        self._update_average()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _paint(self, first: Tensor, second: Tensor, codes: Tensor) -> Tensor:
        """Both views of every photograph, one half of the photographs at each level, turn about."""
        half = self.config.batch // 2
        levels = LEVELS if self.step % 2 else LEVELS[::-1]
        views: list[list[Tensor]] = [[], []]
        for level, part in zip(levels, (slice(0, half), slice(half, None)), strict=True):
            pictures = torch.cat([first[part], second[part]])
            if len(pictures):
                painted = self.model.student(pictures, codes[part].repeat(2, 1), level).chunk(2)
                views[0].append(painted[0])
                views[1].append(painted[1])
        return torch.cat(views[0] + views[1])

    def _losses(
        self, painted: Tensor, pictures: Tensor, target: list[Moments], shift: tuple[int, int]
    ) -> dict[str, Tensor]:
        config = self.config
        taps = sorted({*STYLE_TAPS, CONTENT_TAP})
        found = self.features(painted.contiguous(memory_format=torch.channels_last), taps)
        with torch.no_grad():
            wanted = self.features(pictures.contiguous(memory_format=torch.channels_last), (CONTENT_TAP,))[CONTENT_TAP]
        style = moment_distance(moments(painted, stride=2), target[0])
        for tap, moment in zip(STYLE_TAPS, target[1:], strict=True):
            # The first tap has the most positions and the fewest channels: a quarter of them tell as much.
            style = style + moment_distance(moments(found[tap], stride=2 if tap == STYLE_TAPS[0] else 1), moment)
        half = len(painted) // 2
        return {
            "style": config.style_weight * style.mean() / (len(STYLE_TAPS) + 1),
            "content": config.content_weight * content_distance(found[CONTENT_TAP], wanted).mean(),
            "lattice": config.lattice_weight * lattice_penalty(painted).mean(),
            "steady": config.steady_weight * shift_difference(painted[:half], painted[half:], shift).mean(),
            "variation": config.variation_weight * total_variation(painted).mean(),
        }

    def _rate_factor(self) -> float:
        """Warm-up, constant, then linear to zero: the end can be moved when a run is resumed with other steps."""
        remaining = (self.config.steps - self.step) / (self.config.decay_share * self.config.steps)
        return min(1.0, (self.step + 1) / 100, max(remaining, 0.02))

    def _update_average(self) -> None:
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)

    def _save(self) -> None:
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "network": self.config.network.to_dict(),
            "shipped": self.config.shipped,
        }
        part = self.checkpoint_path.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint_path)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint_path, weights_only=True)
        if state["network"] != self.config.network.to_dict() or state["shipped"] != self.config.shipped:
            raise UserError(
                f"{self.checkpoint_path} is of a run with other sizes or styles: choose another --run folder"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def _log(self, row: dict[str, float]) -> None:
        with (self.config.run / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": self.step, **row}) + "\n")


def describe(config: StudentTraining) -> dict[str, object]:
    """The recipe as plain values for a manifest, without folders of the training machine."""
    recipe = {key: value for key, value in asdict(config).items() if not isinstance(value, Path)}
    for key in ("threads", "save_every", "sheet_every", "shipped", "network", "extra_styles", "validation"):
        recipe.pop(key, None)
    return recipe


def _ordered_styles(config: StudentTraining) -> list[StylePicture]:
    """Shipped styles first, in the order asked for, then every other one."""
    by_name = {style.name: style for style in list_styles(config.styles)}
    unknown = [name for name in config.shipped if name not in by_name]
    if unknown:
        raise UserError(f"no style picture {unknown[0]} in {config.styles}: name files of that folder without suffix")
    others = [style for name, style in by_name.items() if name not in config.shipped]
    extra = list_styles(config.extra_styles) if config.extra_styles else []
    return [by_name[name] for name in config.shipped] + others + extra


def _encoder_view(picture: np.ndarray) -> np.ndarray:
    """What the encoder sees of a style picture: its central square, resized."""
    side = min(picture.shape[:2])
    row, column = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = picture[row : row + side, column : column + side]
    return cv2.resize(square, (ENCODER_SIZE, ENCODER_SIZE), interpolation=cv2.INTER_AREA)


def _soft_clamp(painted: Tensor) -> Tensor:
    """Clamp to [-1, 1] as the runtime does, with a small slope outside so that gradients can lead back."""
    clamped = painted.clamp(-1, 1)
    return clamped + 0.05 * (painted - clamped)


def _parameter_groups(model: StyledStudent) -> list[dict[str, object]]:
    """Convolutions and the encoder's matrices go to Muon; modulation, offsets and biases to AdamW."""
    small = [p for n, p in model.named_parameters() if "modulation" in n or n == "offsets" or "encoder" in n]
    chosen = {id(p) for p in small}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": rest, "use_muon": True}, {"params": small, "use_muon": False}]
