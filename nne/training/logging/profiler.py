"""Where the time of a few steps goes, told by PyTorch's profiler."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch.profiler import profile, schedule

FIRST, STEPS = 2, 5  # steps that are let pass, and then looked at
ROWS = 25


def profiled(wanted: bool, trace: Path, show: Callable[[str], None]) -> AbstractContextManager[Any]:
    """A context whose ``step()`` is to be called after every step; None where no profile is wanted.

    Args:
        trace: a file for chrome://tracing or ui.perfetto.dev.
        show: takes the table of what took longest, as Markdown.
    """
    if not wanted:
        return nullcontext()

    def ready(finished: Any) -> None:
        finished.export_chrome_trace(str(trace))
        device = (
            "self_cuda_time_total" if finished.key_averages().total_average().device_time else "self_cpu_time_total"
        )
        table = finished.key_averages().table(sort_by=device, row_limit=ROWS, max_name_column_width=50)
        show("\n".join(f"    {line}" for line in table.splitlines()))

    return profile(schedule=schedule(wait=FIRST - 1, warmup=1, active=STEPS, repeat=1), on_trace_ready=ready)
