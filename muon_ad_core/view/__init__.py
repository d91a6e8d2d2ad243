# SPDX-License-Identifier: Apache-2.0
"""The live view's web side: a page, who may see it, and what is sent to it. Knows nothing of ROS."""
