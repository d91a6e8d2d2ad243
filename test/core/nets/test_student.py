# SPDX-License-Identifier: Apache-2.0
"""The student: shapes, packing, and what the style code changes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from skimage import data  # noqa: E402

from muon_ad_core.nets.packed_student import PackedStudent  # noqa: E402
from muon_ad_core.nets.student import (  # noqa: E402
    LEVELS,
    Student,
    StudentConfig,
    pack_pixels,
    unpack_pixels,
)

SMALL = StudentConfig(width=16, blocks=1, quarter_width=16, half_width=16, code=8)


@pytest.mark.parametrize("block", [2, 4])
def test_packing_is_the_strided_nhwc_copy_and_invertible(block: int) -> None:
    picture = np.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
    cells = picture.reshape(2, 8 // block, block, 12 // block, block, 3).transpose(0, 1, 3, 2, 4, 5)
    expected = cells.reshape(2, 8 // block, 12 // block, -1)
    packed = pack_pixels(torch.from_numpy(picture).permute(0, 3, 1, 2), block)
    assert np.array_equal(packed.permute(0, 2, 3, 1).numpy(), expected)
    assert np.array_equal(unpack_pixels(packed, block).permute(0, 2, 3, 1).numpy(), picture)


@pytest.mark.parametrize("level", LEVELS)
def test_output_has_the_size_of_the_picture_and_depends_on_the_code(level: str) -> None:
    torch.manual_seed(0)
    student, picture = Student(SMALL), torch.rand(2, 3, 32, 48) * 2 - 1
    painted = student(picture, torch.randn(2, 8), level)
    assert painted.shape == picture.shape
    assert not torch.equal(painted, student(picture, torch.randn(2, 8), level))


@pytest.mark.parametrize("level", LEVELS)
def test_packed_graph_computes_the_same_picture(level: str) -> None:
    torch.manual_seed(0)
    student, code = Student(SMALL).eval(), torch.randn(2, 8)
    picture = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    packed = pack_pixels(picture.permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)
    painted = PackedStudent(student, level)(packed, code).permute(0, 3, 1, 2)
    expected = student(picture.permute(0, 3, 1, 2) / 127.5 - 1, code, level).clamp(-1, 1) * 127.5 + 127.5
    assert (unpack_pixels(painted, 4).float() - expected).abs().max() <= 0.51


@pytest.mark.parametrize(("level", "least"), [("fast", 0.75), ("fine", 0.6)])
def test_an_untrained_student_shows_the_picture(level: str, least: float) -> None:
    torch.manual_seed(0)
    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 127.5 - 1
    painted = Student()(picture, torch.randn(1, 64), level)
    likeness = np.corrcoef(painted.detach().flatten(), picture.flatten())[0, 1]
    assert likeness > least
