# SPDX-License-Identifier: Apache-2.0
"""Generative networks whose self-attentions the optimiser looks into, behind one small interface."""
