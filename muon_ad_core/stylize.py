# SPDX-License-Identifier: Apache-2.0
"""Frame in, frame out: an engine package with a style, blending, strength, levels, palette and temporal smoothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from muon_ad_core.engine.finishing import finish_of
from muon_ad_core.engine.frame_context import load_context
from muon_ad_core.engine.frames import EDGES_FIELD, check_frame, painted_size, squares_along
from muon_ad_core.engine.grain import grain_of
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.engine.runtime import Graph, open_graph
from muon_ad_core.engine.self_check import check_graph
from muon_ad_core.errors import EngineError, ParameterError, StyleError
from muon_ad_core.frame_buffers import FrameBuffers
from muon_ad_core.palette import USUAL_SHARE, PaintedColours, Palette, move_colours
from muon_ad_core.style_files import Style, shipped_styles, user_styles


@dataclass(frozen=True, eq=False)
class Piece:
    """Where a piece of a picture is from: all of the picture, RGB uint8 (H, W, 3), where in it the piece begins, and
    the colours in which the whole is painted (`Stylizer.painted_colours`)."""

    whole: np.ndarray
    row: int
    column: int
    colours: Palette


class Stylizer:
    """Runs a style engine. Not for several threads at once, except `add_style`, which may run beside `run`."""

    def __init__(
        self, package: EnginePackage, backend: str = "auto", threads: int = 0, self_check: bool = True
    ) -> None:
        """threads: CPU threads, 0 for all cores; self_check: compute the package's stored example first.

        Raises EngineError for an engine of another task or with values that make no sense, or when the example comes
        out wrong.
        """
        if package.task != "style":
            raise EngineError(f"engine {package.name} is for {package.task}, not for style: choose a style engine")
        if EDGES_FIELD not in package.manifest:
            raise EngineError(
                f"engine {package.name} was exported by an older release and would paint a line along the border: "
                "make its graphs anew with `muon-ad engine export`"
            )
        self.package = package
        self._graphs: dict[str, Graph] = {
            level.name: open_graph(package.path(level.graph), backend, threads, of_pictures=True)
            for level in package.levels
        }
        if self_check:
            for level in package.levels:
                check_graph(package, level, self._graphs[level.name])
        self.backend = next(iter(self._graphs.values())).backend
        # The encoder has one fixed size and runs beside frames: one thread, so that it does not take their cores.
        self._encoder = open_graph(package.path(package.manifest["encoder"]), self.backend, 1)
        self._encoder_size = int(package.manifest["encoder_size"])
        self._context = load_context(package)
        self._finishes = {level.name: finish_of(package, level) for level in package.levels}
        self._grain = grain_of(package)
        self._styles: dict[str, Style] = user_styles(package) | shipped_styles(package)
        self._lock = threading.Lock()
        self._buffers: dict[tuple[int, int], FrameBuffers] = {}
        self._size = (0, 0, 0)
        self._painted = (0, 0)
        self._place = (0.0, 0.0)
        self._strength = 1.0
        self._smoothing = 0.0
        self._palette_share = USUAL_SHARE
        self._colours = PaintedColours()
        self._most_pixels = 0
        self._level = package.levels[0]
        self.set_style(self.style_names()[0])

    def style_names(self) -> list[str]:
        """Names that `set_style` takes: those of the package in its order, then the user's and those added since."""
        shipped = [style["name"] for style in self.package.manifest["styles"] if style["name"] in self._styles]
        return shipped + [name for name in self._styles if name not in shipped]

    def levels(self) -> list[str]:
        """Names that `set_level` takes, fastest first."""
        return [level.name for level in self.package.levels]

    @property
    def level(self) -> str:
        """The level in use."""
        return self._level.name

    def set_style(self, name: str, style_b: str = "", blend: float = 0.0) -> None:
        """Use a style, or the mixture (1 - blend) * name + blend * style_b of two.

        Raises StyleError for unknown names and ParameterError for a blend outside 0..1.
        """
        _check_share("blend", blend)
        style = self.style(name)
        if style_b and blend > 0:
            style = style.mixed(self.style(style_b), blend)
        self._active_code = np.ascontiguousarray(style.code, dtype=np.float32)
        self._active_palette: Palette | None = style.palette
        self._forget_previous()

    def set_strength(self, strength: float) -> None:
        """0 returns the input unchanged, 1 the full style. Raises ParameterError outside 0..1."""
        _check_share("strength", strength)
        self._strength = strength

    def set_level(self, name: str) -> None:
        """Use a level of the package; raises EngineError for an unknown one."""
        self._level = self.package.level(name)

    def set_urgent(self, urgent: bool) -> None:
        """Whether this goes before other work on a shared accelerator."""
        for graph in self._graphs.values():
            graph.set_urgent(urgent)

    def set_temporal_smoothing(self, smoothing: float) -> None:
        """Share of what was painted before that is kept, moved with the scene; 0: every frame is by itself.

        The frame's own detail is always that of the frame.

        Raises ParameterError outside 0..1.
        """
        _check_share("temporal_smoothing", smoothing)
        self._smoothing = smoothing
        self._forget_previous()

    def set_palette(self, share: float) -> None:
        """How far colours are moved to those of the style's picture (`palette`); 0: they stay as painted.

        Styles without a palette, which older releases made, stay so anyway. Raises ParameterError outside 0..1.
        """
        _check_share("palette", share)
        self._palette_share = share

    def set_most_pixels(self, pixels: int) -> None:
        """Frames of more are painted at a half, a third, ... of their size; 0: as the level says.

        Raises ParameterError for fewer than 0.
        """
        if pixels < 0:
            raise ParameterError(f"most_pixels must be 0 or more, got {pixels}")
        self._most_pixels = pixels

    def add_style(self, name: str, picture: np.ndarray) -> None:
        """Make a picture (H, W, 3) RGB uint8 a style: its palette and the mean code of up to three views, no torch.

        Raises StyleError for an empty name or something that is not such a picture.
        """
        if not name:
            raise StyleError("a style needs a name: give one")
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
            raise StyleError(f"style picture '{name}' must be RGB uint8 (height, width, 3), got {picture.shape}")
        views = squares_along(picture, self._encoder_size)
        with self._lock:
            codes = [self._encoder.run({"picture": view[None]})["code"][0].copy() for view in views]
        self.keep_style(name, Style(np.mean(codes, axis=0), Palette.of(picture)))

    def keep_style(self, name: str, style: Style) -> None:
        """Know a style, whose code this engine's encoder has computed, by a name."""
        self._styles = {**self._styles, name: style}

    def style(self, name: str) -> Style:
        """A style's code and palette; raises StyleError for an unknown one."""
        if name not in self._styles:
            names = self.style_names()
            some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            raise StyleError(f"unknown style '{name}': choose one of {some}, or load a picture as a style first")
        return self._styles[name]

    def warm_up(self, height: int, width: int) -> None:
        """Compile every level for a frame size and allocate its buffers, so that no frame waits for it."""
        chosen, frame = self._level, np.zeros((height, width, 3), np.uint8)
        for level in self.package.levels:
            self._level = level
            buffers = self._prepare((1, height, width), self._painted_size(frame))
            buffers.take_in([frame], "rgb8")
            self._infer(buffers, [buffers.scene(0)])
        self._level = chosen
        self._forget_previous()

    def run(self, frame: np.ndarray, encoding: str = "rgb8") -> np.ndarray:
        """Stylise one frame of any size and strides; the result, RGB uint8 (H, W, 3), is valid until the next run.

        encoding: rgb8, bgr8, rgba8 or bgra8. Raises ParameterError for anything else.
        """
        return self._run([frame], encoding)[0]

    def run_batch(self, frames: Sequence[np.ndarray], encoding: str = "rgb8") -> list[np.ndarray]:
        """Stylise frames of one size in one pass of the network, as `run` does one.

        Only a single frame is smoothed in time: those of a batch come from several cameras. Raises ParameterError when
        there is none, or sizes differ.
        """
        return self._run(frames, encoding)

    def run_picture(self, picture: np.ndarray, piece_of: Piece | None = None) -> np.ndarray:
        """Stylise a picture RGB uint8 (H, W, 3), or a piece of one, at its full size; valid until the next run."""
        return self._run([picture], "rgb8", full_size=True, piece_of=piece_of)[0]

    def painted_colours(self, picture: np.ndarray) -> Palette:
        """In which a picture RGB uint8 (H, W, 3) is painted, before they are moved to those of the style."""
        buffers = self._prepare((1, *picture.shape[:2]), picture.shape[:2])
        buffers.take_in([picture], "rgb8")
        buffers.pack(0, 0, 0)
        painted = buffers.unpack(self._infer(buffers, [buffers.scene(0)]), self._level.output_block)
        return Palette.of(painted)

    def _run(
        self,
        frames: Sequence[np.ndarray],
        encoding: str,
        full_size: bool = False,
        piece_of: Piece | None = None,
    ) -> list[np.ndarray]:
        for frame in frames:
            check_frame(frame, encoding)
        if not frames or any(frame.shape != frames[0].shape for frame in frames):
            raise ParameterError("the frames of a batch must be of one size, and at least one")
        if self._strength == 0 and encoding == "rgb8":
            self._forget_previous()
            return list(frames)
        size = frames[0].shape[:2]
        buffers = self._prepare((len(frames), *size), size if full_size else self._painted_size(frames[0]))
        buffers.take_in(frames, encoding)
        if self._strength == 0:
            self._forget_previous()
            return buffers.frames
        smoothed = self._smoothing > 0 and len(frames) == 1
        if smoothed:
            x, y = buffers.smoother.follow(buffers.seen[0])
            self._place = self._place[0] - y, self._place[1] - x
        begin = (piece_of.row, piece_of.column) if piece_of else (0, 0)
        row, column = (round(place) + at for place, at in zip(self._place, begin))
        for index in range(len(frames)):
            buffers.pack(index, row, column)
        results = self._infer(buffers, [piece_of.whole if piece_of else buffers.scene(i) for i in range(len(frames))])
        for index in range(len(frames)):
            painted = buffers.unpack(results[index : index + 1], self._level.output_block)
            if smoothed:
                buffers.smoother.smooth(painted, self._smoothing)
            if self._active_palette is not None and self._palette_share:
                in_sequence = smoothed and not buffers.smoother.another_scene
                found = piece_of.colours if piece_of else self._colours.follow(painted, in_sequence)
                move_colours(painted, found, self._active_palette, self._palette_share)
            self._finish_frame(buffers, index, painted)
        return list(buffers.outputs)

    def _finish_frame(self, buffers: FrameBuffers, index: int, painted: np.ndarray) -> None:
        """From what was painted of a frame to its output."""
        frame, output = buffers.frames[index], buffers.outputs[index]
        buffers.finisher.finish = self._finishes[self._level.name]
        buffers.finisher(painted, buffers.seen[index], frame, output)
        if self._strength < 1:
            cv2.addWeighted(output, self._strength, frame, 1 - self._strength, 0, dst=output)

    def _painted_size(self, frame: np.ndarray) -> tuple[int, int]:
        """Of a frame as large as this one: as the level says, or with at most the pixels that the user wants."""
        height, width = frame.shape[:2]
        if self._most_pixels:
            return painted_size(height, width, self._most_pixels)
        return painted_size(height, width, self._level.most_pixels, self._level.scale)

    def _prepare(self, size: tuple[int, int, int], painted: tuple[int, int]) -> FrameBuffers:
        """The buffers for a batch of (frames, height, width) that is painted at another (height, width)."""
        if size != self._size:
            self._size, self._buffers = size, {}
        if painted not in self._buffers:
            self._buffers[painted] = FrameBuffers(*size, painted, self._level.input_block, self._grain)
        if painted != self._painted:
            self._change_painted_size(painted)
        return self._buffers[painted]

    def _change_painted_size(self, painted: tuple[int, int]) -> None:
        """Frames of one size go on being painted at another: what was painted before fades, it does not jump."""
        before, self._painted = self._buffers.get(self._painted), painted
        if before is None:
            self._forget_previous()
            return
        self._buffers[painted].smoother.go_on_from(before.smoother)
        scale = painted[0] / before.size[0]
        self._place = self._place[0] * scale, self._place[1] * scale

    def _infer(self, buffers: FrameBuffers, scenes: Iterable[np.ndarray]) -> np.ndarray:
        """Run the network on packed frames; scenes: what each is a piece of."""
        codes = np.stack([self._frame_code(scene) for scene in scenes])
        return self._graphs[self._level.name].run({"pixels": buffers.packed, "code": codes})["painted"]

    def _frame_code(self, frame: np.ndarray) -> np.ndarray:
        """The style's code for this frame."""
        return self._active_code if self._context is None else self._active_code + self._context(frame)

    def _forget_previous(self) -> None:
        self._colours.forget()
        self._place = (0.0, 0.0)
        for buffers in self._buffers.values():
            buffers.smoother.forget()


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ParameterError(f"{name} must be from 0 to 1, got {value}")
