# SPDX-License-Identifier: Apache-2.0
"""One module for each subcommand of ``muon-ad``: ``add_arguments(parser)`` and ``run(args) -> int``."""
