# SPDX-License-Identifier: Apache-2.0
"""Standardised filters have no mean and a length of their own, and become plain ones that compute the same."""

import copy

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from muon_ad_core.distill.weight_standardisation import plain_state, standardise  # noqa: E402


def network() -> torch.nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))


def test_filters_lose_their_mean_and_keep_their_length() -> None:
    plain = network()
    standardised = copy.deepcopy(plain)
    standardise(standardised, lambda name: name == "0")
    before, after = plain[0].weight.flatten(1), standardised[0].weight.flatten(1)
    torch.testing.assert_close(after, before - before.mean(1, keepdim=True), rtol=1e-4, atol=1e-6)
    assert torch.equal(plain[2].weight, standardised[2].weight)  # was not chosen


def test_larger_filters_change_nothing_and_gradients_do_not_lengthen_them() -> None:
    standardised = network()
    standardise(standardised, lambda name: True)
    picture = torch.rand(1, 3, 9, 9)
    painted = standardised(picture)
    painted.square().sum().backward()
    filters = standardised[0].parametrizations.weight.original0
    along = (filters.grad * filters).flatten(1).sum(1)
    assert along.abs().max() < 1e-3 * filters.grad.norm() * filters.norm()
    with torch.no_grad():
        filters *= 5.0
    torch.testing.assert_close(standardised(picture), painted, rtol=1e-3, atol=1e-5)


def test_plain_filters_compute_the_same() -> None:
    standardised = network()
    standardise(standardised, lambda name: True)
    picture = torch.rand(1, 3, 9, 9)
    plain = network()
    plain.load_state_dict(plain_state(standardised))
    torch.testing.assert_close(plain(picture), standardised(picture))
