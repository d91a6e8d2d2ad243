# SPDX-License-Identifier: Apache-2.0
"""Scores that weigh style against content."""

from __future__ import annotations


def art_fid(content_distance: float, style_fid: float) -> float:
    """(1 + content)(1 + FID), >= 1, less is better (Wright and Ommer, 2022).

    The published score takes LPIPS and an Inception network trained on art; with another extractor it is only
    comparable with itself, and its label must name the extractor.
    """
    return (1.0 + content_distance) * (1.0 + style_fid)


def style_score(distance: float, unstyled_distance: float) -> float:
    """How much nearer to the style than the photograph was, 0..1.

    0: no nearer than the photograph; 1: its statistics are the style's. Distances >= 0.
    """
    return min(1.0, max(0.0, 1.0 - distance / unstyled_distance)) if unstyled_distance > 0.0 else 1.0


def harmony(style: float, content: float) -> float:
    """Harmonic mean of a style and a content score (each 0..1): high only when both are."""
    if min(style, content) <= 0.0:
        return 0.0
    return 2.0 * style * content / (style + content)
