# SPDX-License-Identifier: Apache-2.0
"""Networks of the making wing (PyTorch): the student, its style encoder and the detector."""
