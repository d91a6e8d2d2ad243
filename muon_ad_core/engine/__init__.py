# SPDX-License-Identifier: Apache-2.0
"""Engine packages on disk and the runtimes that execute their graphs."""
