"""Errors that are the user's to mend: reported as one line, without a traceback, with exit code 2."""

import sys
from collections.abc import Callable
from numbers import Integral


class UserError(ValueError):
    """What is wrong, where, and what would be right, in one line."""

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).split()))


def exit_code(work: Callable[[], object]) -> int:
    """Do a script's work: 0, or the line of a user's error and 2."""
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).splitlines()), "")


def require(condition: bool, message: str) -> None:
    """Raise ``UserError(message)`` unless ``condition`` holds."""
    if not condition:
        raise UserError(message)


def at_least(name: str, value: float | None, least: float) -> None:
    """``name must be at least ...``; ``None`` stands for no limit and passes."""
    require(value is None or value >= least, f"{name} must be at least {least}, got {value}")


def whole(name: str, value: int, least: int) -> None:
    """``value`` is a whole number of at least ``least``."""
    right = isinstance(value, Integral) and not isinstance(value, bool)
    require(right, f"{name} must be a whole number, got {value}")
    at_least(name, value, least)


def within(name: str, value: float, low: float, high: float) -> None:
    """``low < value <= high``, and finite."""
    if high == float("inf"):
        require(low < value < high, f"{name} must be greater than {low}, and finite, got {value}")
    require(low < value <= high, f"{name} must be greater than {low} and at most {high}, got {value}")


def one_of(name: str, value: str, choices: list[str]) -> None:
    """``value`` is one of ``choices``."""
    require(value in choices, f"{name} must be one of {', '.join(choices)}, got {value}")
