# SPDX-License-Identifier: Apache-2.0
"""Styles of the user's own: made, listed, used and removed by ``muon-ad style``; wrong files refused in a sentence."""

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from muon_ad_core.cli import main
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.errors import StyleError
from muon_ad_core.style_files import Style, mean_style, read_style, shipped_styles, style_path, user_styles, write_style
from muon_ad_core.stylize import Stylizer


@pytest.fixture(scope="module")
def package() -> EnginePackage:
    return EnginePackage.load(find_engine("student"))


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    cv2.imwrite(str(path), data.chelsea()[..., ::-1])
    return path


def test_add_list_use_and_remove(
    package: EnginePackage, picture: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["style", "add", str(picture), "--name", "my cat"]) == 0
    path = style_path(package, "my cat")
    assert path.stat().st_size < 4096
    assert cv2.imread(str(path.with_suffix(".jpg"))).shape == (144, 192, 3)
    assert main(["style", "list"]) == 0
    assert f"my cat{' ' * 26} yours: {path}" in capsys.readouterr().out
    stylizer = Stylizer(package)
    assert stylizer.style_names()[-1] == "my cat"
    stylizer.add_style("again", data.chelsea())
    kept, again = stylizer.style("my cat"), stylizer.style("again")
    assert kept.palette is not None and again.palette is not None
    assert np.allclose(kept.code, again.code)
    assert np.allclose(kept.palette.to_array(), again.palette.to_array())
    assert main(["style", "remove", "my cat"]) == 0
    assert not list(path.parent.iterdir())
    assert main(["style", "remove", "my cat"]) == 2
    assert "you have no style 'my cat'" in capsys.readouterr().err


def test_a_style_goes_into_a_package_of_ones_own(package: EnginePackage, picture: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(package.root, own)
    assert main(["style", "add", str(picture), "--engine", str(own), "--in-package"]) == 0
    assert [style["name"] for style in EnginePackage.load(own).manifest["styles"]][-1] == "cat"
    assert Stylizer(EnginePackage.load(own)).style_names()[-1] == "cat"
    assert main(["style", "remove", "cat", "--engine", str(own), "--in-package"]) == 0
    assert EnginePackage.load(own).manifest["styles"] == package.manifest["styles"]


def test_a_mean_style_counts_all_alike(package: EnginePackage) -> None:
    styles = list(shipped_styles(package).values())[:3]
    mean = mean_style(styles)
    np.testing.assert_allclose(mean.code, np.mean([style.code for style in styles], axis=0), atol=1e-5)
    assert mean.palette is not None
    wanted = np.mean([style.palette.to_array() for style in styles if style.palette is not None], axis=0)
    np.testing.assert_allclose(mean.palette.to_array(), wanted, rtol=1e-4)


def test_an_engine_with_a_damaged_palette_is_refused(package: EnginePackage) -> None:
    entries = [{**entry, "palette": [1, 2]} for entry in package.manifest["styles"]]
    damaged = dataclasses.replace(package, manifest={**package.manifest, "styles": entries})
    with pytest.raises(StyleError, match="palette of style .* is damaged"):
        shipped_styles(damaged)


def test_a_style_of_another_version_is_used_where_the_encoder_is_the_same(package: EnginePackage) -> None:
    older = dataclasses.replace(package, version="0.0.1")
    write_style(style_path(package, "old"), older, "old", Style(np.ones(package.manifest["code_length"], np.float32)))
    assert "old" in user_styles(package)


def test_a_style_of_another_encoder_is_refused(package: EnginePackage) -> None:
    files = {**package.manifest["files"], package.manifest["encoder"]: "0" * 64}
    old = dataclasses.replace(package, version="0.0.1", manifest={**package.manifest, "files": files})
    path = style_path(package, "old")
    write_style(path, old, "old", Style(np.zeros(package.manifest["code_length"], np.float32)))
    with pytest.raises(StyleError, match=r"made for engine student 0\.0\.1, student .* another encoder: make it again"):
        read_style(path, package)
    assert "old" not in user_styles(package)
    assert "old" in user_styles(old)


@pytest.mark.parametrize("content", [b"", b"no style", bytes(100)])
def test_damaged_files_are_refused(package: EnginePackage, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "style.safetensors"
    path.write_bytes(content)
    with pytest.raises(StyleError, match="cannot be read as a style"):
        read_style(path, package)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["add", "absent.png"], "there is no picture absent.png"),
        (["add", "{picture}", "--name", "munch_scream"], "ships a style 'munch_scream'"),
        (["add", "{picture}", "--name", "../x"], "'../x' cannot name a style"),
        (["list", "--engine", "detector"], "engine detector is for detection, not for style"),
        (["add", "{picture}", "--refine", "soon"], "--refine must be a time such as 60s"),
    ],
)
def test_mistakes_get_one_sentence(
    picture: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["style", *(text.format(picture=picture) for text in arguments)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
