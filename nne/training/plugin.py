"""Choices from outside: wherever a name is chosen, ``package.module.name`` of one's own is a choice too.

The working directory is on the path. Runs keep the name as text, so that whoever resumes, evaluates or exports them
finds the same thing again.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from nne.training.errors import UserError, require

T = TypeVar("T")


def is_path(choice: object) -> bool:
    """Whether a choice is a dotted path rather than one of the project's own names."""
    return isinstance(choice, str) and "." in choice


def load(key: str, path: str) -> Any:
    """What a dotted path names.

    Args:
        key: the configuration key, for messages.
        path: ``package.module.name``.

    Raises:
        UserError: it cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # whatever the user's own module does
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{key}={path} cannot be imported ({why}); give package.module.name") from error


def chosen(
    key: str, choice: str | Callable[..., Any], known: Mapping[str, T], expected: str, probe: Callable[[Any], object]
) -> T | Any:
    """One of the ``known``, or a function of one's own that does as expected on a small example.

    Args:
        key: the configuration key, for messages.
        choice: a name among ``known``, a dotted path, or the function itself.
        expected: what it must be, in words.
        probe: calls it on a small example, and raises where that goes wrong or gives something else.

    Raises:
        UserError: it is none of these, cannot be imported, or fails on the example.
    """
    if isinstance(choice, str) and choice in known:
        return known[choice]
    named = isinstance(choice, str)
    require(not named or is_path(choice), f"{key} must be one of {', '.join(known)}, or {expected}, got {choice}")
    function = load(key, choice) if isinstance(choice, str) else choice
    try:
        require(callable(function), "it cannot be called")
        probe(function)
    except Exception as error:  # whatever the user's own function does
        why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{key}={name_of(choice)} must be {expected}; on a small example: {why}") from error
    return function


def name_of(choice: object) -> str:
    """A choice as text: a name or a dotted path as it is, a function by its own."""
    if isinstance(choice, str):
        return choice
    return f"{getattr(choice, '__module__', '')}.{getattr(choice, '__qualname__', repr(choice))}"


def one_of_or_path(key: str, choice: str, known: list[str]) -> None:
    """``choice`` is one of ``known``, or the dotted path of something that can be imported.

    Raises:
        UserError: it is neither.
    """
    if is_path(choice):
        load(key, choice)
    else:
        or_path = "or package.module.name of your own"
        require(choice in known, f"{key} must be one of {', '.join(known)}, {or_path}, got {choice}")
