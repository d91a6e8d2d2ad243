# SPDX-License-Identifier: Apache-2.0
"""Other projects' detectors as packages: tiny graphs that say one known box, the way each family says it.

MUON_AD_TEST_PEERS=FOLDER and MUON_AD_TEST_COCO=JSON=FOLDER name real ones, and pictures to measure them on.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the tests' graphs are made with onnx")

from muon_ad_core import cli  # noqa: E402
from muon_ad_core.bench.detector_peers import known_peers  # noqa: E402
from muon_ad_core.detect.detector import Detector  # noqa: E402
from muon_ad_core.detect.foreign import ForeignDetector, write_foreign_package  # noqa: E402
from muon_ad_core.distill.coco_file import file_and_folder, read_coco_file  # noqa: E402
from muon_ad_core.engine import runtime  # noqa: E402
from muon_ad_core.engine.package import EnginePackage, find_engine  # noqa: E402
from muon_ad_core.engine.runtime import NCNN_SUFFIX, available_backends  # noqa: E402
from muon_ad_core.errors import EngineError, ParameterError, UserError  # noqa: E402
from muon_ad_core.metrics.detection import detect_all, evaluate_detector  # noqa: E402

CLASSES = ("person", "cat", "dog", "ship")
DOG = 2
ROWS, COLUMNS = 64, 128
BOX = np.array([20.0, 4.0, 68.0, 60.0])  # in a picture of that size; its centre is 44, 32
CENTRE, SIZE = np.array([44.0, 32.0]), np.array([48.0, 56.0])
Outputs = dict[str, np.ndarray]


def locations(*strides: int) -> int:
    return sum((ROWS // stride) * (COLUMNS // stride) for stride in strides)


def yolox() -> Outputs:
    rows = np.zeros((1, locations(8, 16, 32), 9), np.float32)
    cell = rows[0, 4 * 16 + 5]  # stride 8
    cell[:2], cell[2:4], cell[4], cell[5 + DOG] = CENTRE / 8 - (5, 4), np.log(SIZE / 8), 0.9, 0.8
    return {"boxes": rows}


def bins_of(point: np.ndarray, stride: int) -> np.ndarray:
    """Distributions over eight bins whose means are the sides' distances."""
    distances = np.concatenate([point - BOX[:2], BOX[2:] - point]) / stride
    logits = np.full((4, 8), -50.0)
    for side, distance in enumerate(distances):
        low = int(distance)
        share = distance - low
        logits[side, low] = np.log(max(1 - share, 1e-9))
        logits[side, low + 1] = np.log(max(share, 1e-9))
    return logits.ravel()


def nanodet(strides: tuple[int, ...], offset: float) -> Outputs:
    """Its box is said at stride 16, third cell of the second row."""
    rows = np.zeros((1, locations(*strides), 4 + 32), np.float32)
    cell = rows[0, locations(8) + 8 + 2]
    cell[DOG] = 0.72
    cell[4:] = bins_of((np.array([2, 1]) + offset) * 16, 16)
    return {"output": rows}


def nanodet_apart() -> Outputs:
    rows, outputs, first = nanodet((8, 16, 32), 0.5)["output"], {}, 0
    for stride in (8, 16, 32):
        last = first + locations(stride)
        outputs[f"dis_pred_stride_{stride}"] = rows[:, first:last, 4:]
        outputs[f"cls_pred_stride_{stride}"] = rows[:, first:last, :4]
        first = last
    return outputs


def fastestdet() -> Outputs:
    maps = np.zeros((1, 9, 4, 8), np.float32)
    cell, share = maps[0, :, 2, 2], SIZE / (COLUMNS, ROWS)
    cell[0], cell[1:3], cell[3:5], cell[5 + DOG] = (
        0.9,
        np.arctanh(CENTRE / 16 - (2, 2)),
        np.log(share / (1 - share)),
        0.5,
    )
    return {"758": maps}


def yolo_fastestv2() -> Outputs:
    fine, coarse = np.zeros((1, 4, 8, 19), np.float32), np.zeros((1, 2, 4, 19), np.float32)
    cell = fine[0, 2, 2]
    cell[8:10] = (CENTRE / 16 - (2, 2) + 0.5) / 2  # the third anchor
    cell[10:12] = np.sqrt(SIZE / (55.71, 138.31)) / 2
    cell[14], cell[15 + DOG] = 0.9, 0.8
    return {"796": coarse, "794": fine}


NETWORKS = {
    "yolox": ("yolox", yolox(), 0.72),
    "nanodet": ("nanodet", nanodet((8, 16, 32), 0.5), 0.72),
    "nanodet, outputs apart": ("nanodet", nanodet_apart(), 0.72),
    "nanodet-plus": ("nanodet-plus", nanodet((8, 16, 32, 64), 0.0), 0.72),
    "fastestdet": ("fastestdet", fastestdet(), 0.9**0.6 * 0.5**0.4),
    "yolo-fastestv2": ("yolo-fastestv2", yolo_fastestv2(), 0.72),
}


def write_graph(file: Path, outputs: Outputs, shape: tuple[int, ...] = (1, 3, ROWS, COLUMNS), inputs: int = 1) -> Path:
    """A graph that gives these outputs for whatever input."""
    nodes = [
        onnx.helper.make_node("ReduceSum", ["pixels"], ["sum"], keepdims=0),
        onnx.helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
        *(onnx.helper.make_node("Add", [f"{name}_constant", "zero"], [name]) for name in outputs),
    ]
    constants = {"nothing": np.zeros((), np.float32), **{f"{name}_constant": array for name, array in outputs.items()}}
    names = ["pixels", *(f"more{number}" for number in range(inputs - 1))]
    graph = onnx.helper.make_graph(
        nodes,
        "known",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in names],
        [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape)
            for name, array in outputs.items()
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), str(file))
    return file


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("name", NETWORKS)
def test_every_family_is_read_as_it_writes(tmp_path: Path, name: str, backend: str) -> None:
    family, outputs, score = NETWORKS[name]
    file = write_graph(tmp_path / "net.onnx", outputs)
    package = write_foreign_package(ForeignDetector(file, family, CLASSES), tmp_path / "package")
    detector = Detector(package, backend, threads=1)
    for scale in (1, 2):
        found = detector.run(np.zeros((scale * ROWS, scale * COLUMNS, 3), np.uint8))
        assert [detector.classes[label] for label in found.labels] == ["dog"]
        assert found.boxes[0] == pytest.approx(scale * BOX, abs=0.01 * scale)
        assert found.scores[0] == pytest.approx(score, abs=1e-3)


def test_the_package_loads_again_and_tells_what_it_is(tmp_path: Path) -> None:
    file = write_graph(tmp_path / "net.onnx", yolox())
    foreign = ForeignDetector(file, "yolox", CLASSES, licence="Apache-2.0", preprocessing={"padding": 0})
    write_foreign_package(foreign, tmp_path / "my_detector")
    package = EnginePackage.load(tmp_path / "my_detector")
    assert (package.name, package.task, package.manifest["licence"]) == ("my_detector", "detection", "Apache-2.0")
    assert package.manifest["input_size"] == [ROWS, COLUMNS]
    assert package.manifest["decoding"] == {"output": "boxes"}
    assert package.manifest["preprocessing"]["padding"] == 0


def test_an_open_size_is_chosen(tmp_path: Path) -> None:
    """Whoever exports with open sides says the size; the graph of this test gives outputs for one size only."""
    file = write_graph(tmp_path / "net.onnx", yolox(), shape=(1, 3, 0, 0))
    with pytest.raises(EngineError, match=r"shape \(168, 9\) where .* make it \(3549, 9\)"):
        write_foreign_package(ForeignDetector(file, "yolox", CLASSES), tmp_path / "package")
    package = write_foreign_package(ForeignDetector(file, "yolox", CLASSES, size=(ROWS, COLUMNS)), tmp_path / "package")
    assert package.manifest["input_size"] == [ROWS, COLUMNS]


@pytest.mark.parametrize(
    ("family", "outputs", "options", "message"),
    [
        ("fastestdet", yolox(), {}, "output 'boxes' has the shape"),
        ("yolox", fastestdet(), {}, "output '758' has the shape"),
        ("nanodet-plus", nanodet((8, 16, 32), 0.5), {}, "classes, strides and input size"),
        ("yolo-fastestv2", yolox(), {}, "1 outputs for 2 strides"),
        ("yolox", yolox(), {"shape": (2, 3, ROWS, COLUMNS)}, "one picture of 3 planes"),
        ("yolox", yolox(), {"shape": (1, 1, ROWS, COLUMNS)}, "one picture of 3 planes"),
        ("yolox", yolox(), {"inputs": 2}, "inputs pixels, more0: a detector with one input"),
        ("abacus", yolox(), {}, "unknown decoder 'abacus'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_stays(
    tmp_path: Path, family: str, outputs: Outputs, options: dict[str, object], message: str
) -> None:
    file = write_graph(tmp_path / "net.onnx", outputs, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        write_foreign_package(ForeignDetector(file, family, CLASSES), tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_files_and_folders_that_cannot_be_used(tmp_path: Path) -> None:
    file = write_graph(tmp_path / "net.onnx", yolox())
    with pytest.raises(ParameterError, match="is in use"):
        write_foreign_package(ForeignDetector(file, "yolox", CLASSES), tmp_path)
    with pytest.raises(ParameterError, match="there is no file"):
        write_foreign_package(ForeignDetector(tmp_path / "none.onnx", "yolox", CLASSES), tmp_path / "package")
    with pytest.raises(ParameterError, match="of 64x128 pixels only"):
        write_foreign_package(ForeignDetector(file, "yolox", CLASSES, size=(416, 416)), tmp_path / "package")
    with pytest.raises(EngineError, match="no setting 'colours'"):
        foreign = ForeignDetector(file, "yolox", CLASSES, preprocessing={"colours": "RGB"})
        write_foreign_package(foreign, tmp_path / "package")
    file.write_bytes(b"no graph")
    with pytest.raises(EngineError, match="cannot be read as a graph"):
        write_foreign_package(ForeignDetector(file, "yolox", CLASSES), tmp_path / "package")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_graph(tmp_path / "net.onnx", nanodet((8, 16, 32), 0.5))
    names = tmp_path / "classes.txt"
    names.write_text("\n".join(CLASSES))
    target = tmp_path / "mine"
    command = ["engine", "import", "detector", str(file), "--decoder", "nanodet", "--classes", str(names)]
    changes = [
        "--set",
        "preprocessing.channels=RGB",
        "--set",
        "preprocessing.mean=[1, 2, 3]",
        "--set",
        "strides=[8,16,32]",
    ]
    assert cli.main([*command, *changes, "-o", str(target)]) == 0
    assert "it finds: dog 72 %" in capsys.readouterr().out
    preprocessing = EnginePackage.load(target).manifest["preprocessing"]
    assert (preprocessing["channels"], preprocessing["mean"]) == ("RGB", [1, 2, 3])

    assert cli.main(["engine", "info", str(target)]) == 0
    told = capsys.readouterr().out
    assert "decoder      nanodet, strides 8 16 32" in told and "4: person, cat, dog, ship" in told
    assert cli.main(["engine", "check", str(target)]) == 0
    assert capsys.readouterr().out.count("runs") == 1

    for wrong, message in (
        (["--set", "colour=RGB"], "use preprocessing.NAME=VALUE"),
        (["--size", "big"], "--size must be like 416"),
        (["--set", "preprocessing.padding=999"], "padding must be 0 to 255"),
    ):
        assert cli.main([*command, *wrong, "-o", str(tmp_path / "other")]) == 2
        assert message in capsys.readouterr().err


def test_the_list_of_engines_has_the_shipped_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["engine", "info"]) == 0
    assert {"detector", "student"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}


@pytest.mark.parametrize("engine", ["detector", "student"])
def test_shipped_engines_pass_their_check(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["engine", "check", engine]) == 0
    told = capsys.readouterr().out
    levels = EnginePackage.load(find_engine(engine)).levels
    assert told.count(" runs\n") == len(levels)
    assert told.count(" agrees ") == len(levels) * (len(available_backends()) - 1)


def test_ncnn_files_say_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / f"net{NCNN_SUFFIX}"
    file.write_text("7767517\n2 2\nInput x 0 1 x\nSigmoid y 1 1 x y\n")
    with pytest.raises(ParameterError, match="name the weights"):
        write_foreign_package(ForeignDetector(file, "yolox", CLASSES), tmp_path / "package")
    with pytest.raises(EngineError, match="ncnn's own format"):
        runtime.open_graph(file, "openvino")
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match="pip install ncnn"):
        runtime.open_graph(file)


def test_ncnn_runs_its_own_files(tmp_path: Path) -> None:
    pytest.importorskip("ncnn", reason="ncnn is not installed")
    file = tmp_path / f"net{NCNN_SUFFIX}"
    file.write_text("7767517\n2 2\nInput x 0 1 x\nSigmoid y 1 1 x y\n")
    with pytest.raises(EngineError, match="belong together"):
        runtime.open_graph(file)
    file.with_suffix(".bin").write_bytes(b"")
    graph = runtime.open_graph(file, threads=1)
    assert (graph.backend, graph.input_shapes) == ("ncnn", {"x": ()})
    values = np.linspace(-3, 3, 24, dtype=np.float32).reshape(1, 2, 3, 4)
    result = graph.run({"x": values})["y"]
    assert result == pytest.approx(1 / (1 + np.exp(-values)), abs=0.01)
    with pytest.raises(EngineError, match="no input 'z'"):
        graph.run({"z": values})


PEERS, PICTURES = os.environ.get("MUON_AD_TEST_PEERS", ""), os.environ.get("MUON_AD_TEST_COCO", "")
# Measured independently on 120 pictures of COCO val2017, by each project's own recipe.
PEERS_AP = {
    "FastestDet": 0.171,
    "Yolo-FastestV2": 0.140,
    "NanoDet-m": 0.237,
    "NanoDet-m-416": 0.243,
    "YOLOX-nano": 0.257,
}


@pytest.mark.skipif(not (PEERS and PICTURES), reason="MUON_AD_TEST_PEERS and MUON_AD_TEST_COCO name no peers")
@pytest.mark.parametrize("name", PEERS_AP)
def test_peers_reach_their_average_precision(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pycocotools", reason="average precision needs pycocotools")
    peer = known_peers(Path(PEERS))[name]
    if peer.file.suffix == NCNN_SUFFIX and not importlib.util.find_spec("ncnn"):
        pytest.skip("ncnn is not installed")
    detector = Detector(write_foreign_package(peer, tmp_path / "peer"))
    file, folder = file_and_folder(PICTURES)
    coco = read_coco_file(file, detector.classes, folder)
    figures = evaluate_detector(detect_all(detector), coco, detector.classes).figures
    assert figures["ap"] == pytest.approx(PEERS_AP[name], abs=0.02)
