# SPDX-License-Identifier: Apache-2.0
"""A tiny detector training on made pictures: the loss falls, a resumed run is the same run, the package runs."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
pytest.importorskip("onnx", reason="the making wing needs onnx")

from muon_ad_core.commands import train_detector  # noqa: E402
from muon_ad_core.detect.detector import Detector  # noqa: E402
from muon_ad_core.distill.detector_data import PictureCache, read_coco  # noqa: E402
from muon_ad_core.distill.detector_lessons import BoxLesson  # noqa: E402
from muon_ad_core.distill.detector_package import export_detector, finish_package, read_network  # noqa: E402
from muon_ad_core.distill.detector_trainer import DetectorTrainer, DetectorTraining  # noqa: E402
from muon_ad_core.engine.package import EnginePackage  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402
from muon_ad_core.nets.detector import DetectorNet, DetectorShape, PackedDetector  # noqa: E402

CLASSES = ("disc", "square")
SHAPE = DetectorShape(classes=2, stem=32, widths=(32, 32, 32), blocks=(1, 1, 1), pyramid=32)
RECIPE = DetectorTraining(steps=60, batch=4, size=96, start_size=64, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a network is slowed by a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def coco_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of a red disc and a blue square on noise."""
    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(12):
        picture = rng.integers(90, 120, (96, 96, 3), dtype=np.uint8)
        x, y = (int(v) for v in rng.integers(20, 76, 2))
        cv2.circle(picture, (x, y), 16, (30, 30, 230), -1)
        left, top = (int(v) for v in rng.integers(0, 60, 2))
        cv2.rectangle(picture, (left, top), (left + 30, top + 30), (230, 30, 30), -1)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
        images.append({"id": index, "file_name": f"{index}.png", "width": 96, "height": 96})
        for category, bbox in ((1, [x - 16, y - 16, 32, 32]), (2, [left, top, 30, 30])):
            annotations.append({"id": len(annotations) + 1, "image_id": index, "category_id": category, "bbox": bbox,
                                "area": bbox[2] * bbox[3], "iscrowd": 0})  # fmt: skip
    categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]
    file = folder / "coco.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def trainer(coco_file: Path, recipe: DetectorTraining = RECIPE, shape: DetectorShape = SHAPE) -> DetectorTrainer:
    return DetectorTrainer(shape, BoxLesson([PictureCache(read_coco(coco_file, CLASSES), 96)]), recipe)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_loss_falls(coco_file: Path, optimizer: str) -> None:
    run = trainer(coco_file, DetectorTraining(**{**vars(RECIPE), "optimizer": optimizer}))
    losses: list[float] = []
    run.run(lambda parts: losses.append(parts["total"]))
    assert len(losses) == RECIPE.steps
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_inputs_grow_from_the_start_size_to_the_size(coco_file: Path) -> None:
    run = trainer(coco_file)
    assert run.size == 64
    run.step = RECIPE.steps - 1
    assert run.size == 96


def test_resumed_run_is_the_uninterrupted_run(coco_file: Path, tmp_path: Path) -> None:
    whole, first, second = (trainer(coco_file) for _ in range(3))
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "state.pt")
    second.load(tmp_path / "state.pt")
    for _ in range(3):
        second.advance()
    assert second.step == whole.step == 6
    for module in ("network", "average"):
        expected = getattr(whole, module).state_dict()
        for name, value in getattr(second, module).state_dict().items():
            assert torch.equal(value, expected[name]), name


def test_seeds_differ(coco_file: Path) -> None:
    first, second = (trainer(coco_file, DetectorTraining(**{**vars(RECIPE), "seed": seed})) for seed in (0, 1))
    assert first.advance() != second.advance()


def test_bad_recipes_and_checkpoints_are_refused(coco_file: Path, tmp_path: Path) -> None:
    for changes, message in (
        ({"steps": 0}, "steps or in minutes"),
        ({"minutes": 1.0}, "steps or in minutes"),
        ({"size": 100}, "multiples of 32"),
        ({"start_size": 128}, "multiples of 32"),
        ({"optimizer": "sgd"}, "choose muon or adamw"),
    ):
        with pytest.raises(UserError, match=message):
            trainer(coco_file, DetectorTraining(**{**vars(RECIPE), **changes}))
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="cannot resume"):
        trainer(coco_file).load(damaged)
    other = trainer(coco_file, shape=DetectorShape(classes=2, pyramid=64))
    other.save(tmp_path / "other.pt")
    with pytest.raises(UserError, match="another network shape"):
        trainer(coco_file).load(tmp_path / "other.pt")


def test_packed_graph_is_the_network() -> None:
    torch.manual_seed(0)
    network = DetectorNet(SHAPE).eval()
    picture = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    cells = picture.reshape(1, 3, 16, 4, 24, 4).permute(0, 2, 4, 3, 5, 1).reshape(1, 16, 24, 48)
    with torch.no_grad():
        for found, expected in zip(PackedDetector(network)(cells), network(picture.float() / 255)):
            assert torch.allclose(found, expected, atol=1e-4)


def test_package_round_trip(coco_file: Path, tmp_path: Path) -> None:
    run = trainer(coco_file)
    for _ in range(3):
        run.advance()
    origin = {"data": ["shapes: 12 pictures"], "note": "made", "limits": "all"}
    target = tmp_path / "shapes"
    fields = export_detector(run, CLASSES, target, "0.0.1", origin)
    finish_package(target, fields, {"ap_int8": 0.5})
    package = EnginePackage.load(target)
    assert package.manifest["metrics"] == {"ap_int8": 0.5}
    assert "ap_int8: 0.5" in (target / "README.md").read_text()

    restarted = read_network(package)
    assert restarted.shape == SHAPE
    for name, value in run.average.state_dict().items():
        assert torch.allclose(restarted.state_dict()[name].float(), value.float(), rtol=2e-3, atol=1e-6), name
    del package.manifest["network"]
    with pytest.raises(UserError, match="no weights to train on from"):
        read_network(package)

    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    int8, full = (Detector(package, level=level).run(picture, 0.001, 0.9) for level in ("int8", "float"))
    with torch.no_grad():
        logits, _ = run.average(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    assert full.scores[0] == pytest.approx(logits.max().sigmoid().item(), rel=0.02)
    assert int8.scores[0] == pytest.approx(full.scores[0], rel=0.3)


def command_line(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    train_detector.add_arguments(parser)
    return parser.parse_args(arguments)


def test_command_trains_resumes_and_writes_a_package(
    coco_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(coco_file.read_text())
    document["annotations"].append({"id": 99, "image_id": 0, "category_id": 1, "bbox": [5, 5, 0, 0]})
    document["images"].append({"id": 99, "file_name": "corrupt.png", "width": 96, "height": 96})
    coco_file.with_name("corrupt.png").write_bytes(b"\x89PNG broken")
    faulty = coco_file.with_name("faulty.json")
    faulty.write_text(json.dumps(document))
    names = tmp_path / "classes.txt"
    names.write_text("disc\nsquare\n")
    common = ["--data", str(faulty), "--classes", str(names), "--run", str(tmp_path / "run"), "--size", "64",
              "--start-size", "64", "--batch", "2"]  # fmt: skip
    assert train_detector.run(command_line(*common, "--steps", "2")) == 0
    told = capsys.readouterr().err
    assert "1 x box without area" in told and "1 x unreadable picture" in told
    assert train_detector.run(command_line(*common, "--steps", "3")) == 0
    package = EnginePackage.load(tmp_path / "run" / "detector")
    assert package.manifest["training"]["steps_done"] == 3
    assert package.manifest["classes"] == ["disc", "square"]
    left_out = "left out: 1 x box without area; left out: 1 x unreadable picture"
    assert package.manifest["training"]["data"] == [f"faulty.json: 12 pictures, 24 boxes (0 soft); {left_out}"]
    assert left_out in (package.root / "README.md").read_text()

    more = [*common, "--start", str(package.root), "--steps", "1"]
    more[more.index("--run") + 1] = str(tmp_path / "further")
    assert train_detector.run(command_line(*more)) == 0


def test_command_prunes_trains_on_and_resumes(coco_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch_pruning", reason="pruning needs torch-pruning")
    whole = trainer(
        coco_file, shape=DetectorShape(classes=2, stem=32, widths=(64, 64, 64), blocks=(1, 1, 1), pyramid=64)
    )
    for _ in range(12):
        whole.advance()
    start = tmp_path / "whole"
    origin = {"data": [], "note": "", "limits": ""}
    finish_package(start, export_detector(whole, CLASSES, start, "0.0.1", origin), {})
    names = tmp_path / "classes.txt"
    names.write_text("disc\nsquare\n")
    common = ["--data", str(coco_file), "--classes", str(names), "--size", "64", "--start-size", "64", "--batch", "2",
              "--start", str(start), "--prune", "0.2"]  # fmt: skip
    for method, done in (("gradual", 7), ("magnitude", 10)):
        run = ["--run", str(tmp_path / method), "--prune-method", method]
        assert train_detector.run(command_line(*common, *run, "--steps", "10")) == 0
        package = EnginePackage.load(tmp_path / method / "detector")
        assert package.manifest["levels"][0]["macs"] <= 0.8 * EnginePackage.load(start).manifest["levels"][0]["macs"]
        assert package.manifest["training"]["steps_done"] == done
        length = {"steps": 10, "minutes": 0.0, "seed": 0}
        told = {"method": method, "rate": 0.2, "start": "whole 0.0.1", "run": length}
        assert package.manifest["pruning"] == told
        assert train_detector.run(command_line(*common, *run, "--steps", "20")) == 0
        resumed = EnginePackage.load(tmp_path / method / "detector")
        assert resumed.manifest["training"]["steps_done"] == 2 * done
        picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        Detector(resumed).run(picture, 0.001, 0.9)


def test_pruning_wants_a_network_to_prune(coco_file: Path, tmp_path: Path) -> None:
    options = ["--data", str(coco_file), "--run", str(tmp_path), "--steps", "3", "--prune", "0.4"]
    with pytest.raises(UserError, match="--start"):
        train_detector.run(command_line(*options))


def test_command_measures_average_precision(coco_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="average precision needs pycocotools")
    run = trainer(coco_file)
    for _ in range(3):
        run.advance()
    origin = {"data": [], "note": "", "limits": ""}
    fields = export_detector(run, CLASSES, tmp_path / "shapes", "0.0.1", origin)
    finish_package(tmp_path / "shapes", fields, {})
    metrics = train_detector.measure(tmp_path / "shapes", coco_file, None)
    assert metrics.keys() == {"ap_int8", "ap50_int8", "ap_float", "ap50_float"}
    assert all(0 <= value <= 1 for value in metrics.values())


def test_length_of_the_training_must_be_said(coco_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--steps or --minutes"):
        train_detector.run(command_line("--data", str(coco_file), "--run", str(tmp_path)))


def test_bad_validation_data_are_refused_before_training(coco_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="validation needs pycocotools")
    names, bad = tmp_path / "classes.txt", tmp_path / "bad.json"
    names.write_text("disc\nsquare\n")
    bad.write_text('{"images": []}')
    common = ["--data", str(coco_file), "--classes", str(names), "--run", str(tmp_path / "run"), "--steps", "1000000"]
    with pytest.raises(UserError, match="not COCO format"):
        train_detector.run(command_line(*common, "--validation", str(bad)))
    with pytest.raises(UserError, match="not COCO format"):
        train_detector.run(command_line("--data", str(bad), *common[2:]))
