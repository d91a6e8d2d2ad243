# SPDX-License-Identifier: Apache-2.0
"""Real time: scheduling policy, frame hand-over, accounting, latency and level of detail (pure, no ROS)."""
