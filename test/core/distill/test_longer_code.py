# SPDX-License-Identifier: Apache-2.0
"""A longer style code: nothing changes until a style uses it, and then every layer can move."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.longer_code import with_longer_code  # noqa: E402
from muon_ad_core.distill.student_trainer import StyledStudent  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402
from muon_ad_core.nets.student import LEVELS, FiLM, StudentConfig  # noqa: E402
from muon_ad_core.nets.style_encoder import ENCODER_SIZE  # noqa: E402

CONFIG = StudentConfig(width=16, blocks=2, quarter_width=16, half_width=16, code=8)


@pytest.fixture
def model() -> StyledStudent:
    torch.manual_seed(1)
    model = StyledStudent(CONFIG, 3)
    torch.nn.init.normal_(model.student.context.second.weight)
    return model.eval().requires_grad_(False)


def test_every_style_paints_as_before(model: StyledStudent) -> None:
    longer = with_longer_code(model, 20)
    assert longer.student.config.code == 20
    picture = torch.rand(2, 3, 32, 48) * 2 - 1
    styles, indices = torch.rand(2, 3, ENCODER_SIZE, ENCODER_SIZE) * 2 - 1, torch.tensor([1, -1])
    for level in LEVELS:
        painted = [
            each.student(picture, each.code(styles, indices) + each.student.context(picture), level)
            for each in (model, longer)
        ]
        torch.testing.assert_close(painted[0], painted[1])


def test_the_new_numbers_reach_every_modulation(model: StyledStudent) -> None:
    longer = with_longer_code(model, 20)
    code = torch.zeros(1, 20)
    code[:, 8:] = torch.randn(1, 12)
    for module in longer.modules():
        if isinstance(module, FiLM):
            moved = module.linear(code) - module.linear(torch.zeros(1, 20))
            assert (moved != 0).all()


def test_students_that_are_lengthened_alike_share_directions(model: StyledStudent) -> None:
    first, second = (with_longer_code(model, 20).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_code_does_not_get_shorter(model: StyledStudent) -> None:
    with pytest.raises(UserError, match="8 numbers already"):
        with_longer_code(model, 4)
