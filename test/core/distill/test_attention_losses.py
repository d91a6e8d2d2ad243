# SPDX-License-Identifier: Apache-2.0
"""Capture of attentions and losses on them: closed forms, autograd, equal pictures give zero."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from muon_ad_core.distill.attention import (  # noqa: E402
    Attention,
    AttentionCapture,
    capture_attentions,
    execution_order,
)
from muon_ad_core.distill.attention_losses import (  # noqa: E402
    StyleTokens,
    ad_l1,
    content_loss,
    image_feature_loss,
    kl_literal,
    kl_teacher,
    resample_tokens,
    style_tokens,
)
from muon_ad_core.distill.attention_objective import token_grid, token_labels  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), -1) @ value


def attention(tokens: int, seed: int, heads: int = 2, size: int = 4) -> Attention:
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(1, heads, tokens, size, generator=generator) for _ in range(3))
    return Attention(query, key, value, plain_attention(query, key, value))


class Layer(nn.Module):
    """Self-attention over picture tokens, joined with text tokens where there are some."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 24)

    def forward(self, hidden_states: Tensor, text: Tensor | None = None) -> Tensor:
        tokens = hidden_states if text is None else torch.cat([hidden_states, text], 1)
        # Strided views, as most networks have them.
        query, key, value = self.mix(tokens).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(query, key, value=value)
        return out.transpose(1, 2).flatten(2)[:, : hidden_states.shape[1]]


def test_capture_sees_what_the_formula_says_and_nothing_but_the_chosen_modules() -> None:
    layers = nn.ModuleList(Layer() for _ in range(3))
    tokens = torch.randn(2, 6, 8)

    def run() -> None:
        hidden = tokens
        for layer in layers:
            hidden = layer(hidden)

    found = capture_attentions([layers[1], layers[2]], run)
    assert len(found) == 2
    for record in found:
        assert record.query.shape == (2, 2, 6, 4) and record.query.is_contiguous()
        expected = plain_attention(record.query, record.key, record.value)
        assert torch.allclose(record.output, expected, atol=1e-6)
    with torch.no_grad():
        query = layers[1].mix(layers[0](tokens)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)[0]
    assert torch.allclose(found[0].query, query, atol=1e-6)


def test_capture_leaves_the_result_and_the_network_as_they_are() -> None:
    layer, tokens = Layer(), torch.randn(1, 5, 8)
    before = layer(tokens)
    with AttentionCapture([layer]):
        inside = layer(tokens)
    assert torch.allclose(before, inside, atol=1e-6)
    assert not layer._forward_hooks and not layer._forward_pre_hooks


def test_of_a_joint_attention_the_pictures_own_part_is_taken() -> None:
    layer, tokens, text = Layer(), torch.randn(1, 5, 8), torch.randn(1, 3, 8)
    (record,) = capture_attentions([layer], lambda: layer(hidden_states=tokens, text=text))
    assert record.query.shape[2] == 5
    assert torch.allclose(record.output, plain_attention(record.query, record.key, record.value), atol=1e-6)


def test_gradients_flow_through_a_capture() -> None:
    layer, tokens = Layer(), torch.randn(1, 5, 8, requires_grad=True)
    (record,) = capture_attentions([layer], lambda: layer(tokens))
    record.output.sum().backward()
    assert tokens.grad is not None and tokens.grad.abs().sum() > 0


def test_an_attention_that_does_not_show_itself_is_told() -> None:
    module = nn.Linear(8, 8)
    with pytest.raises(UserError, match="0 of 1 self-attentions"):
        capture_attentions([module], lambda: module(torch.randn(1, 2, 8)))


def test_execution_order_is_not_the_order_of_registration() -> None:
    modules = {"a": nn.Identity(), "b": nn.Identity()}
    assert execution_order(modules, lambda: modules["a"](modules["b"](torch.zeros(1)))) == ["b", "a"]


def test_equal_pictures_have_no_loss() -> None:
    sites = [attention(12, 0), attention(6, 1)]
    assert float(ad_l1(sites, style_tokens([sites]))) == pytest.approx(0, abs=1e-6)
    assert float(content_loss(sites, sites)) == 0
    assert float(kl_teacher(sites, sites)) == pytest.approx(0, abs=1e-6)
    assert float(kl_literal(sites, sites, [(3, 4), (2, 3)])) == pytest.approx(0, abs=1e-6)


def test_style_loss_is_its_formula() -> None:
    found, style = attention(6, 0), attention(9, 1)
    target = plain_attention(found.query, style.key, style.value)
    expected = (found.output - target).abs().mean()
    assert torch.allclose(ad_l1([found], style_tokens([[style]])), expected, atol=1e-6)


def test_style_loss_gives_no_gradient_to_its_target() -> None:
    base = attention(6, 0)
    leaves = [getattr(base, name).clone().requires_grad_() for name in ("query", "key", "value")]
    found = Attention(*leaves, plain_attention(*leaves))
    style = attention(9, 1)
    ad_l1([found], style_tokens([[style]])).backward()
    with torch.no_grad():
        target = plain_attention(leaves[0], style.key, style.value)
    again = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    (plain_attention(*again) - target).abs().mean().backward()
    for leaf, other in zip(leaves, again):
        assert torch.allclose(leaf.grad, other.grad, atol=1e-6)


def test_several_styles_join_their_tokens() -> None:
    found, first, second = attention(6, 0), attention(4, 1), attention(5, 2)
    key, value = (torch.cat([getattr(x, n) for x in (first, second)], 2) for n in ("key", "value"))
    expected = (found.output - plain_attention(found.query, key, value)).abs().mean()
    assert torch.allclose(ad_l1([found], style_tokens([[first], [second]])), expected, atol=1e-6)


def test_regions_see_their_own_style_only() -> None:
    found, first, second = attention(6, 0), attention(4, 1), attention(5, 2)
    labels = [[torch.zeros(4, dtype=torch.long)], [torch.ones(5, dtype=torch.long)]]
    mine = [torch.tensor([[0, 0, 0, 1, 1, 7]])]  # no style has label 7: it sees all
    loss = ad_l1([found], style_tokens([[first], [second]], labels), mine)
    key, value = (torch.cat([getattr(x, n) for x in (first, second)], 2) for n in ("key", "value"))
    both = plain_attention(found.query, key, value)
    target = torch.cat([
        plain_attention(found.query, first.key, first.value)[:, :, :3],
        plain_attention(found.query, second.key, second.value)[:, :, 3:5],
        both[:, :, 5:],
    ], 2)  # fmt: skip
    assert torch.allclose(loss, (found.output - target).abs().mean(), atol=1e-6)


def test_content_loss_is_its_formula() -> None:
    a, b = [attention(6, 0), attention(3, 2)], [attention(6, 1), attention(3, 3)]
    expected = sum((x.query - y.query).abs().mean() for x, y in zip(a, b))
    assert torch.allclose(content_loss(a, b), torch.as_tensor(expected))


def test_kl_teacher_agrees_with_torch_and_is_never_negative() -> None:
    student, teacher = attention(700, 0), attention(700, 1)  # more rows than are compared at a time
    maps = [torch.softmax(x.query @ x.key.mT / 2.0, -1) for x in (student, teacher)]
    expected = F.kl_div(maps[0].log(), maps[1], reduction="none").sum(-1).mean()
    found = kl_teacher([student], [teacher])
    assert torch.allclose(found, expected, rtol=1e-4) and found > 0


def test_kl_literal_compares_grids_of_unlike_size() -> None:
    found, style = attention(12, 0), attention(48, 1)
    loss = kl_literal([found], [style], [(6, 8)])
    assert torch.isfinite(loss) and loss > 0


def test_resampling_keeps_constants_and_counts() -> None:
    tokens = torch.full((1, 2, 48, 4), 3.0)
    assert torch.allclose(resample_tokens(tokens, (6, 8), 12), torch.full((1, 2, 12, 4), 3.0))
    assert resample_tokens(tokens, (6, 8), 48) is tokens


def test_image_features_are_compared_layer_by_layer() -> None:
    picture, content = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)

    def features(x: Tensor) -> list[Tensor]:
        return [x, 2 * x]

    expected = ((picture - content).square().mean() * (1 + 4)) / 2
    assert torch.allclose(image_feature_loss(features, picture, features(content)), expected)


def test_style_tokens_carry_no_graph() -> None:
    base = attention(4, 0)
    style = Attention(base.query, base.key.requires_grad_(), base.value, base.output)
    (tokens,) = style_tokens([[style]])
    assert isinstance(tokens, StyleTokens) and not tokens.key.requires_grad


@pytest.mark.parametrize(("size", "count", "grid"), [((64, 96), 96, (8, 12)), ((512, 512), 4096, (64, 64))])
def test_token_grids_follow_the_picture(size: tuple[int, int], count: int, grid: tuple[int, int]) -> None:
    assert token_grid(size, count) == grid


def test_token_labels_are_those_of_the_pixels() -> None:
    labels = torch.zeros(32, 48)
    labels[:, 24:] = 5
    assert token_labels(labels, 24).reshape(4, 6).tolist() == [[0, 0, 0, 5, 5, 5]] * 4
