"""What can happen to a machine, done to real runs: `python -m tests.faults.inject`."""
