"""Errors that are the user's to mend; everything else is a defect of ours and shows a traceback."""


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what is allowed.

    The command line prints it and exits with status 2.
    """
