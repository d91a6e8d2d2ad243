# SPDX-License-Identifier: Apache-2.0
"""``muon-ad stylize`` on pictures, folders and videos."""

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from muon_ad_core.cli import main
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.offline import tiles
from muon_ad_core.offline.tiles import stylize_picture
from muon_ad_core.offline.videos import on_even_grid
from muon_ad_core.palette import USUAL_SHARE
from muon_ad_core.style_files import Style, write_style
from muon_ad_core.stylize import Stylizer

PHOTO = np.ascontiguousarray(data.astronaut()[:90, :121])


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    return Stylizer(EnginePackage.load(find_engine("student")))


def write(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


def test_a_picture_in_a_shipped_style_and_in_a_blend(tmp_path: Path, stylizer: Stylizer) -> None:
    source = write(tmp_path / "photo.png", PHOTO)
    first, second = stylizer.style_names()[:2]
    command = ["stylize", str(source), "-s", first, "--blend", second, "0.3", "--strength", "0.8", "--level", "fast"]
    assert main([*command, "-o", str(tmp_path / "out.png")]) == 0
    stylizer.set_style(first, second, 0.3)
    stylizer.set_strength(0.8)
    stylizer.set_level("fast")
    painted = stylizer.run_picture(PHOTO).copy()
    stylizer.set_strength(1.0)
    assert np.abs(cv2.imread(str(tmp_path / "out.png"))[..., ::-1].astype(int) - painted).max() <= 1


def test_a_picture_is_a_style_too(tmp_path: Path) -> None:
    source, style = write(tmp_path / "photo.png", PHOTO), write(tmp_path / "red.png", PHOTO // [1, 8, 8])
    assert main(["stylize", str(source), "-s", str(style), "-o", str(tmp_path)]) == 2  # it would replace the original
    assert main(["stylize", str(source), "-s", str(style), "-o", str(tmp_path / "out.jpg")]) == 0
    assert cv2.imread(str(tmp_path / "out.jpg")).shape == PHOTO.shape


def test_a_folder_goes_on_after_a_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "deep/b.jpg"):
        write(tmp_path / "in" / name, PHOTO)
    (tmp_path / "in/a2.png").write_bytes(b"nothing")
    assert main(["stylize", str(tmp_path / "in"), "-s", "munch_scream", "-o", str(tmp_path / "out")]) == 1
    output = capsys.readouterr()
    assert "2 of 3 pictures stylised, 1 refused" in output.out
    assert "a2.png cannot be read as a picture" in output.err
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*g")) == ["a.png", "b.jpg"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["absent.png", "-s", "munch_scream"], "there is no file or folder absent.png"),
        (["{photo}", "-s", "nothing"], "'nothing' is neither a style nor a file"),
        (["{photo}", "-s", "munch_scream", "--strength", "2"], "strength must be from 0 to 1"),
        (["{photo}", "-s", "munch_scream", "--level", "huge"], "has no level 'huge'"),
        (["{photo}", "-s", "munch_scream", "--blend", "munch_scream", "some"], "a share from 0 to 1, not 'some'"),
        (["{broken}", "-s", "munch_scream"], "cannot be opened as a video"),
    ],
)
def test_mistakes_get_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    photo, broken = write(tmp_path / "photo.png", PHOTO), tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    filled = [text.format(photo=photo, broken=broken) for text in arguments]
    assert main(["stylize", *filled, "-o", str(tmp_path / "out.mp4")]) == 2
    assert sentence in capsys.readouterr().err


def test_tiles_show_no_seam(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.ascontiguousarray(np.tile(data.astronaut()[:, :301], (1, 2, 1)))
    stylizer.set_level("fine")
    monkeypatch.setattr(tiles, "TILE", 192)
    for palette, most in ((0.0, 2), (USUAL_SHARE, 8)):  # colours are told by the picture painted a little smaller
        stylizer.set_palette(palette)
        whole = stylizer.run(picture).copy()
        monkeypatch.setattr(tiles, "MOST_PIXELS", 250_000)
        assert np.abs(stylize_picture(stylizer, picture).astype(int) - whole).max() <= most


@pytest.mark.parametrize("shape", [(1, 1), (3, 20_000)])
def test_the_smallest_and_the_widest(tmp_path: Path, shape: tuple[int, int]) -> None:
    source = write(tmp_path / "photo.png", np.resize(PHOTO, (*shape, 3)))
    assert main(["stylize", str(source), "-s", "munch_scream", "-o", str(tmp_path / "out.png")]) == 0
    assert cv2.imread(str(tmp_path / "out.png")).shape == (*shape, 3)


def _turned(path: Path) -> None:
    image = Image.fromarray(np.ascontiguousarray(np.rot90(PHOTO)))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(path, exif=exif)


@pytest.mark.parametrize(
    "save",
    [
        lambda path: Image.fromarray(PHOTO[..., 0]).save(path),
        lambda path: Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]])).save(path),
        lambda path: cv2.imwrite(str(path), PHOTO[..., ::-1].astype(np.uint16) * 257),
        _turned,
    ],
    ids=["grey", "alpha", "16 bit", "EXIF"],
)
def test_every_kind_of_picture_is_painted(tmp_path: Path, save: Callable[[Path], object]) -> None:
    save(tmp_path / "photo.png")
    assert main(["stylize", str(tmp_path / "photo.png"), "-s", "munch_scream", "-o", str(tmp_path / "out.png")]) == 0
    painted = cv2.imread(str(tmp_path / "out.png"))
    assert painted.shape == PHOTO.shape and painted.std() > 1  # 90 x 121: no multiple of anything


def test_a_style_file_goes_with_the_encoder_that_made_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = EnginePackage.load(find_engine("student"))
    source, style = write(tmp_path / "photo.png", PHOTO), tmp_path / "cat.safetensors"
    code = np.zeros(package.manifest["code_length"], np.float32)
    command = ["stylize", str(source), "-s", str(style), "-o", str(tmp_path / "out.png")]
    newer = dataclasses.replace(package, version="99.0.0")
    write_style(style, newer, "cat", Style(code))
    assert main(command) == 0
    retrained = {**package.manifest, "files": {**package.manifest["files"], package.manifest["encoder"]: "0" * 64}}
    write_style(style, dataclasses.replace(newer, manifest=retrained), "cat", Style(code))
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "was made for engine student 99.0.0" in told and "has another encoder" in told


def test_frames_stand_on_an_even_grid() -> None:
    frames = [np.full((1, 1, 3), number, np.uint8) for number in range(4)]
    stamps = [0, 100_000_000, 390_000_000, 410_000_000]  # one late, one twice in a period
    shown = [(int(frame[0, 0, 0]), times) for frame, times in on_even_grid(zip(frames, stamps), 10.0)]
    assert shown == [(0, 1), (1, 3), (3, 1)]


def test_a_video_keeps_its_rate_and_length(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "in.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (120, 90))
    for shift in range(8):
        writer.write(np.ascontiguousarray(np.roll(PHOTO[:, :120], 3 * shift, 1)))
    writer.release()
    assert main(["stylize", str(tmp_path / "in.mp4"), "-s", "munch_scream", "--smoothing", "0.5",
                 "-o", str(tmp_path / "out.mp4")]) == 0  # fmt: skip
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    assert sum(capture.read()[0] for _ in range(20)) == 8


@pytest.mark.skipif(not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="ffmpeg is not installed")
def test_sound_goes_along(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=96x72:rate=10:duration=1", "-f",
                    "lavfi", "-i", "sine=duration=1", "-pix_fmt", "yuv420p", str(source)], check=True)  # fmt: skip
    assert main(["stylize", str(source), "-s", "munch_scream", "-o", str(target)]) == 0
    probed = subprocess.run(["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(target)],
                            check=True, capture_output=True)  # fmt: skip
    assert {stream["codec_type"] for stream in json.loads(probed.stdout)["streams"]} == {"audio", "video"}
