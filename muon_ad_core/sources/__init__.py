# SPDX-License-Identifier: Apache-2.0
"""Where pictures come from: emulated scenes, videos, picture folders, cameras, recorded bags."""
