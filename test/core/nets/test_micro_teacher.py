# SPDX-License-Identifier: Apache-2.0
"""The lapped transform and the micro teacher: exact inverses, soft basis functions, order and gradients."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.nets.lapped import LappedTransform  # noqa: E402
from muon_ad_core.nets.micro_teacher import MicroTeacher, MicroTeacherConfig  # noqa: E402

SMALL = MicroTeacherConfig(block=4, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(2, 1), head=8, time=8)


@pytest.mark.parametrize("block", [4, 8])
def test_lapped_transform_is_orthogonal_and_inverts_itself(block: int) -> None:
    picture = torch.randn(2, 3, 6 * block, 4 * block)
    transform = LappedTransform(block)
    coefficients = transform(picture)
    assert coefficients.shape == (2, 3 * block**2, 6, 4)
    assert torch.allclose(coefficients.norm(), picture.norm(), rtol=1e-5)
    assert torch.allclose(transform.inverse(coefficients), picture, atol=1e-5)


def test_one_block_is_enough() -> None:
    picture = torch.randn(1, 3, 8, 8)
    transform = LappedTransform(8)
    assert torch.allclose(transform.inverse(transform(picture)), picture, atol=1e-5)


def test_flat_pictures_have_one_coefficient_and_basis_functions_overlap() -> None:
    transform = LappedTransform(8)
    coefficients = transform(torch.ones(1, 3, 32, 32))
    assert coefficients[:, 1:].abs().max() < 1e-5 * coefficients[:, 0].abs().max()
    single = torch.zeros(1, 192, 4, 4)
    single[0, 0, 1, 1] = 1.0
    row = transform.inverse(single)[0, 0, 12].abs()
    touched = (row > 1e-6).nonzero()
    assert touched.min() == 4 and touched.max() == 19  # 16 pixels around the block 8..15
    assert row[4] < 0.3 * row[12]  # and it ends softly


def test_teacher_encodes_and_decodes_exactly() -> None:
    network = MicroTeacher(SMALL)
    network.scale.uniform_(0.5, 20.0)
    picture = torch.rand(1, 3, 24, 40) * 2 - 1
    assert torch.allclose(network.decode(network.encode(picture)), picture, atol=1e-4)


def test_teacher_keeps_shapes_and_runs_its_attentions_in_the_order_told() -> None:
    network = MicroTeacher(SMALL)
    latent = torch.randn(2, 48, 4, 6)
    assert network(latent, torch.tensor([0.2, 0.9])).shape == latent.shape
    assert [name for name, _ in network.attentions()] == ["attention.1.0", "attention.0.0", "attention.0.1"]
    ran = []
    for name, module in network.attentions():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network(latent, torch.tensor([0.2, 0.9]))
    assert ran == [name for name, _ in network.attentions()]


def test_shape_survives_a_manifest() -> None:
    assert MicroTeacherConfig.from_dict(SMALL.to_dict()) == SMALL


def test_default_teacher_has_four_attentions_at_16_to_32_tokens_a_side_of_256_pixels() -> None:
    with torch.device("meta"):
        network = MicroTeacher()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert 2e6 <= parameters <= 5e6
    sides = [256 // (network.config.block * 2 ** int(name.split(".")[1])) for name, _ in network.attentions()]
    assert len(sides) >= 4 and set(sides) <= {16, 32}
