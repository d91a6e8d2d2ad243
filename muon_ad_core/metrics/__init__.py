# SPDX-License-Identifier: Apache-2.0
"""Quality of pictures, sets of pictures and sequences. Modules that need torch say so; the others need none."""
