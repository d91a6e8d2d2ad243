# SPDX-License-Identifier: Apache-2.0
"""Object detection at run time: decode, suppress, draw, place in space. numpy and OpenCV only."""
