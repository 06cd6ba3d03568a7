"""Errors told in one line; everything else is a defect of ours and shows a traceback."""


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what is allowed.

    The command line prints it and exits with status 2.
    """


class FailedError(Exception):
    """What was asked for could not be done, though nothing was wrong with how it was asked for.

    A run or notebook failed, a record is damaged, the disk is full: the message is one line that
    says which. The command line prints it and exits with status 1.
    """
