# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes of Muon-AD: they declare parameters, convert messages and call ``muon_ad_core``."""
