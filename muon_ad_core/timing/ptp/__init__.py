# SPDX-License-Identifier: Apache-2.0
"""This machine's clock under PTP: ask ptp4l and the network card's clock, and judge the answers (no ROS)."""
