# SPDX-License-Identifier: Apache-2.0
"""Measuring: recordings, figures, plots and reports."""
