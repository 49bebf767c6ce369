"""What ends the stack."""


class StackError(Exception):
    """The stack cannot come up or go on; the message says why and what to do about it."""
