# SPDX-License-Identifier: Apache-2.0
"""``muon-ad doctor``: check this machine."""

from muon_ad_core.doctor import add_arguments, run

__all__ = ["add_arguments", "run"]
