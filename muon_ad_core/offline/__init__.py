# SPDX-License-Identifier: Apache-2.0
"""Stylising files, outside of real time: pictures of any kind and size, folders, videos."""
