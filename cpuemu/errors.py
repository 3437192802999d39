"""What a person did wrong, in one sentence: what, where, and what to do.  The command ends with exit code 2."""

from __future__ import annotations


class UserError(Exception):
    """The message is all that is shown."""
