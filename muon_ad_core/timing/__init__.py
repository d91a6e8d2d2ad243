# SPDX-License-Identifier: Apache-2.0
"""Clocks: unwrap device ticks, translate them to host time, pair frames of several streams (pure, no ROS)."""
