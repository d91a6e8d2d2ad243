# SPDX-License-Identifier: Apache-2.0
"""The ``muon-ad`` command. A subcommand's module is imported only when it is chosen, so that help is instant."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from muon_ad_core import __version__
from muon_ad_core.errors import UserError

# Subcommand -> (group, one line of help); its module is muon_ad_core.commands.<subcommand>.
COMMANDS = {
    "demo": ("run", "run the joint task for a while and write a report of it to out/demo"),
    "up": ("run", "start the joint task here, one process a node, until Ctrl-C"),
    "view": ("look", "serve a web page that shows the running nodes and changes their parameters"),
    "clock": ("look", "show how far this machine's clock is under PTP"),
    "doctor": ("look", "check this machine; say what is wrong and which command mends it"),
    "bench": ("look", "measure one thing and print its figures"),
    "soak": ("look", "run the joint task for long, with faults, and check what must always hold"),
    "eval": ("look", "judge pictures, sequences and detectors by standard metrics"),
    "report": ("look", "one HTML page of result files"),
    "bag": ("look", "record a benchmark bag from any source, with ground truth"),
    "stylize": ("make", "stylise a picture, a folder of pictures or a video"),
    "style": ("make", "make a style of any picture; list and remove styles"),
    "engine": ("make", "engine packages: what they hold, if they run here; import other projects' networks"),
    "train": ("make", "train a student (style), a teacher or a detector; the result is a package"),
    "synthesize": ("make", "paint a photograph, or a texture, in the style of pictures by optimisation"),
}
GROUPS = {
    "run": "Run the joint task",
    "look": "Look at what is there",
    "make": "Make styles and engines",
}
INTERRUPTED = 130  # exit code of a command stopped by Ctrl-C, as shells use it
EXAMPLES = """\
examples:
  muon-ad demo                                             see it work, with a report at the end
  muon-ad up joint_task                                    an emulated camera, style transfer, detection
  muon-ad up joint_task --source clip.mp4 --duration 60    a video as the camera, for one minute
  muon-ad up joint_task --set style_transfer.strength=0.7  start with a parameter of a node set
  muon-ad up joint_task --view                             the same with the live view, a web page
  muon-ad stylize clip.mp4 -s painting.jpg -o out.mp4      any file in the style of any picture
  muon-ad doctor                                           what this machine has, and what to mend
  muon-ad train student --help                             make an engine of your own
  muon-ad synthesize --content photo.jpg --style painting.jpg -o out.png    one picture, by optimisation
"""


def describe_commands() -> str:
    """The subcommands by group, for the help text."""
    lines = []
    for group, title in GROUPS.items():
        members = [(name, text) for name, (where, text) in COMMANDS.items() if where == group]
        if members:
            lines += [f"{title}:", *(f"  {name:10} {text}" for name, text in members), ""]
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """The parser of everything up to the subcommand's name."""
    parser = argparse.ArgumentParser(
        prog="muon-ad",
        usage="muon-ad <command> [options]      (muon-ad <command> --help tells a command's options)",
        description="Live style transfer with object detection beside it, on ROS 2.\n\n" + describe_commands(),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="help", help="show this help")
    parser.add_argument("--version", action="version", version=f"muon-ad {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code: 2 for a user's mistake, 130 for Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    name = parser.parse_args(arguments[:1]).command
    if name is None:
        parser.print_help()
        return 0
    try:
        command = importlib.import_module(f"muon_ad_core.commands.{name}")
        command_parser = argparse.ArgumentParser(
            prog=f"muon-ad {name}",
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(command_parser)
        return int(command.run(command_parser.parse_args(arguments[1:])))
    except UserError as error:
        print(f"muon-ad {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, for example head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
