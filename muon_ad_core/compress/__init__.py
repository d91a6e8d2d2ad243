# SPDX-License-Identifier: Apache-2.0
"""The making wing's last steps: export to ONNX and quantisation."""
