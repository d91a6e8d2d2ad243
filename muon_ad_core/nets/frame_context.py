# SPDX-License-Identifier: Apache-2.0
"""What a frame as a whole adds to the style code: its exposure, contrast and fineness.

A pixel of the student's picture depends on its surroundings only; a painter of small patches cannot know that a whole
scene is dull. Networks with instance normalisation know, at the cost of statistics of every layer; here eight numbers
of the frame itself tell, before the network runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muon_ad_core.engine.frame_context import CLIP, FAR, FLOOR, NEAR, TYPICAL, steps

HIDDEN = 32


class FrameContext(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] -> what to add to their codes, (B, code), 0 before training.

    H and W are multiples of 8.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.first = nn.Linear(len(TYPICAL), HIDDEN)
        self.second = nn.Linear(HIDDEN, code, bias=False)
        nn.init.zeros_(self.second.weight)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(statistics(pictures))))


def statistics(pictures: Tensor) -> Tensor:
    """(B, 8): mean and spread of each colour, and how much pixels differ from those near and those farther away."""
    rows, columns = steps(*pictures.shape[2:])
    width = pictures.shape[3] - FAR
    here, near, far = (pictures[:, :, ::rows, at : at + width : columns].float() for at in (0, NEAR, FAR))
    differences = [(here - other).abs().mean(dim=(1, 2, 3))[:, None] for other in (near, far)]
    spread = here.var(dim=(2, 3), correction=0).sqrt()
    magnitudes = torch.log2(torch.cat([spread, *differences], dim=1) + FLOOR)
    found = torch.cat([here.mean(dim=(2, 3)), magnitudes], dim=1) - torch.tensor(TYPICAL)
    return found.clamp(-CLIP, CLIP)
