# SPDX-License-Identifier: Apache-2.0
"""RealSense cameras by pyrealsense2: on USB, recorded, or emulated by librealsense's software device."""
