"""Satisfy as many clauses of a DIMACS file as can be: `python scripts/examples/maxsat.py FILE [EVALUATIONS]`."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nne import optimize
from nne.training.errors import UserError, exit_code, require


def clauses_of(path: Path) -> tuple[int, list[list[int]]]:
    """How many variables there are, and the literals of every clause; -3 is "not variable 3".

    Raises:
        UserError: the file cannot be read, or is not a whole CNF file.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    variables = count = 0
    literals: list[int] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0] == "c":
            continue
        if words[0] == "%":  # as some collections end their files
            break
        try:
            if words[0] == "p":
                variables, count = int(words[words.index("cnf") + 1]), int(words[words.index("cnf") + 2])
            else:
                literals += map(int, words)
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}:{number}: expected `p cnf VARIABLES CLAUSES` or literals, got `{line}`") from error
    require(variables > 0, f"{path}: there is no line `p cnf VARIABLES CLAUSES`")
    clauses: list[list[int]] = [[]]
    for literal in literals:
        require(abs(literal) <= variables, f"{path}: there are {variables} variables, got {literal}")
        if literal:
            clauses[-1].append(literal)
        else:
            clauses.append([])
    unfinished = clauses.pop()
    whole = not unfinished and len(clauses) == count
    require(whole, f"{path}: {count} clauses that end in 0 were announced, got {len(clauses)}: is the file cut?")
    return variables, clauses


def satisfied(variables: int, clauses: list[list[int]]) -> Callable[[Tensor], Tensor]:
    """How many clauses genotypes ``[B, variables]`` satisfy, ``[B]``."""
    wants = torch.zeros(2, len(clauses), variables)  # a positive literal, and a negative one
    for i, clause in enumerate(clauses):
        for literal in clause:
            wants[int(literal < 0), i, abs(literal) - 1] = 1
    return lambda x: (x.float() @ wants[0].T + (~x).float() @ wants[1].T > 0).sum(dim=1)


def main() -> None:
    """Search until all clauses are satisfied, or for so many evaluations."""
    require(len(sys.argv) > 1, "give a DIMACS file: python scripts/examples/maxsat.py FILE [EVALUATIONS]")
    variables, clauses = clauses_of(Path(sys.argv[1]))
    budget = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    found = optimize(satisfied(variables, clauses), variables, budget, target=len(clauses))
    print(f"{found.fitness:.0f} of {len(clauses)} clauses are satisfied, after {found.evaluations:,} evaluations")
    print("v", *(i if true else -i for i, true in enumerate(found.x.tolist(), 1)), 0)


if __name__ == "__main__":
    sys.exit(exit_code(main))
