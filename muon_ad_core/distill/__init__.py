# SPDX-License-Identifier: Apache-2.0
"""The making wing's training code (PyTorch): losses, the Muon optimiser and the trainers."""
