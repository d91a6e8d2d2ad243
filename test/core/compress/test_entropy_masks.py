# SPDX-License-Identifier: Apache-2.0
"""Entropy masks: bounds of entropies, which layers and heads stay, and what is saved."""

import json
import math

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from muon_ad_core.compress.entropy_masks import (  # noqa: E402
    AttentionSite,
    EntropyMask,
    HeadSelection,
    attention_entropy,
    choose_mask,
    keep_layers,
    normalised_entropy,
)


@settings(max_examples=40)
@given(st.integers(0, 2**31 - 1), st.integers(1, 6), st.integers(1, 40), st.floats(0.0, 50.0))
def test_entropy_lies_between_nothing_and_one(seed: int, queries: int, keys: int, sharpness: float) -> None:
    scores = sharpness * torch.randn(2, 3, queries, keys, generator=torch.Generator().manual_seed(seed))
    entropy = normalised_entropy(scores.softmax(-1))
    assert entropy.shape == (2, 3)
    assert ((entropy >= 0) & (entropy <= 1)).all()


@pytest.mark.parametrize("keys", [2, 16, 1024])
def test_uniform_attention_has_one_and_a_choice_of_one_key_nothing(keys: int) -> None:
    assert float(normalised_entropy(torch.full((5, keys), 1 / keys))) == pytest.approx(1, abs=1e-6)
    assert float(normalised_entropy(torch.eye(keys)[:5])) == pytest.approx(0, abs=1e-6)
    half = torch.zeros(1, keys)
    half[0, :2] = 0.5
    assert float(normalised_entropy(half)) == pytest.approx(math.log(2) / math.log(keys), abs=1e-6)


def test_entropy_from_queries_and_keys() -> None:
    query, key = torch.randn(2, 3, 20, 8), torch.randn(2, 3, 30, 8)
    whole = (query @ key.mT / 8**0.5).softmax(-1)
    assert torch.allclose(attention_entropy(query, key), normalised_entropy(whole), atol=1e-5)
    few = attention_entropy(query, key, most_queries=2)
    assert torch.allclose(few, normalised_entropy(whole[..., [0, 19], :]), atol=1e-5)


def test_layers_of_low_entropy_go_but_one_of_each_resolution_stays() -> None:
    entropies, tokens = [0.9, 0.5, 0.7, 0.2, 0.3, 0.1], [1024, 1024, 1024, 256, 256, 64]
    assert keep_layers(entropies, tokens) == [True, False, True, False, True, True]
    assert keep_layers(entropies, tokens, protected=(1, 3)) == [True, True, True, True, False, True]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([16, 64, 256])), max_size=16),
    st.floats(0, 1),
    st.sets(st.integers(0, 15)),
)
def test_keeping_layers_obeys_its_rule(layers: list[tuple[float, int]], beta: float, protected: set[int]) -> None:
    entropies, tokens = [entropy for entropy, _ in layers], [count for _, count in layers]
    kept = keep_layers(entropies, tokens, tuple(protected), beta)
    assert {count for count, keep in zip(tokens, kept) if keep} == set(tokens)
    for index, (entropy, keep) in enumerate(zip(entropies, kept)):
        if entropy > beta * max(entropies) or index in protected:
            assert keep


@pytest.mark.parametrize("wrong", [([0.5], [1, 2], 0.7), ([0.5], [1], 1.5)])
def test_layers_that_do_not_fit_are_refused(wrong: tuple[list[float], list[int], float]) -> None:
    entropies, tokens, beta = wrong
    with pytest.raises(ValueError):
        keep_layers(entropies, tokens, beta=beta)


def test_half_the_heads_stay_and_do_not_flicker() -> None:
    selection = HeadSelection(4, decay=0.5, margin=0.1)
    assert selection.update(torch.tensor([0.9, 0.8, 0.2, 0.1])).tolist() == [True, True, False, False]
    # A little more is not enough to take a kept head's place ...
    assert selection.update(torch.tensor([0.9, 0.6, 0.85, 0.1])).tolist() == [True, True, False, False]
    # ... a clear and lasting lead is.
    for _ in range(4):
        mask = selection.update(torch.tensor([0.9, 0.3, 0.85, 0.1]))
    assert mask.tolist() == [True, False, True, False]


def test_a_restored_selection_goes_on_alike() -> None:
    first, second = HeadSelection(8), HeadSelection(8)
    first.update(torch.linspace(0, 1, 8))
    second.load_state_dict(first.state_dict())
    later = torch.linspace(1, 0, 8)
    assert torch.equal(first.update(later), second.update(later))
    assert int(first.update(later).sum()) == 4


def test_a_mask_counts_what_it_saves_and_survives_json() -> None:
    sites = [
        AttentionSite("up.0", 64, 64, 4, 8),
        AttentionSite("up.1", 64, 64, 4, 8),
        AttentionSite("up.2", 256, 256, 2, 8),
    ]
    entropies = [torch.tensor([0.9, 0.8, 0.9, 0.2]), torch.full((4,), 0.1), torch.tensor([0.6, 0.5])]
    mask = choose_mask(sites, entropies, protected=(2,))
    assert mask.layers == (True, False, True)
    assert mask.heads[0] == (True, False, True, False)
    assert mask.heads[2] == (True, True)
    head = 4 * 64 * 64 * 8
    assert mask.flops == 2 * 4 * head + 2 * 16 * head
    assert mask.flops_saved == 2 * head + 4 * head
    assert EntropyMask.from_dict(json.loads(json.dumps(mask.to_dict()))) == mask


def test_heads_follow_the_selections_that_are_given() -> None:
    sites, selections = [AttentionSite("up.0", 16, 16, 2, 4)], [HeadSelection(2, margin=0.3, decay=0.0)]
    assert choose_mask(sites, [torch.tensor([0.9, 0.8])], selections=selections).heads == ((True, False),)
    assert choose_mask(sites, [torch.tensor([0.8, 0.9])], selections=selections).heads == ((True, False),)
