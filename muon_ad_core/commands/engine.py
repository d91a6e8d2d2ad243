# SPDX-License-Identifier: Apache-2.0
"""Look at engine packages, try them on this machine, and make them of other projects' networks."""

from __future__ import annotations

import argparse
import importlib

# What to do -> (module with add_arguments and run, one line of help).
ACTIONS = {
    "info": ("muon_ad_core.commands.engine_info", "what a package holds, or which packages there are"),
    "check": ("muon_ad_core.commands.engine_check", "verify a package and run it on every runtime that is installed"),
    "export": ("muon_ad_core.commands.engine_export", "write a student's graphs anew from its weights"),
    "merge": ("muon_ad_core.commands.engine_merge", "add the levels of pruned students to the whole one"),
    "import": ("muon_ad_core.commands.engine_import", "wrap another project's network into a package"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-command an action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for name, (module, text) in ACTIONS.items():
        command = importlib.import_module(module)
        action = actions.add_parser(
            name, help=text, description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_arguments(action)
        action.set_defaults(run_action=command.run)


def run(args: argparse.Namespace) -> int:
    """Do it; returns the action's exit code."""
    return int(args.run_action(args))
