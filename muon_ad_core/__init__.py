# SPDX-License-Identifier: Apache-2.0
"""Style transfer, detection and their real-time guarantees, as a plain Python library without ROS."""

__version__ = "0.1.0"
