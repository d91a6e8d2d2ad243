# SPDX-License-Identifier: Apache-2.0
"""Errors a user can cause; each carries one sentence: what is wrong, where, and what to do."""


class UserError(Exception):
    """A mistake the user can mend. The command line prints the message without a traceback and exits with 2."""


class EngineError(UserError):
    """An engine package is missing, damaged, of an unknown version, or unusable on this machine."""


class StyleError(UserError):
    """A style is unknown, or a style picture cannot be read."""


class SourceError(UserError):
    """A frame source (video, image folder, device, bag) cannot be opened or is damaged."""


class ParameterError(UserError):
    """A value is out of its range or of the wrong type."""
