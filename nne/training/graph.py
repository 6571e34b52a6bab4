"""CUDA graphs: hundreds of small kernels that cost the host one launch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Recorded:
    """A function of tensors on a GPU, recorded when it is first called, and replayed from then on.

    It must launch the same kernels whatever the numbers are, wait for none of them, and change nothing but tensors.

    Args:
        function: gives tensors; it may write into those that it is given, which are copies.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]]) -> None:
        self.function = function
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: list[Tensor] = []
        self.outputs: Sequence[Tensor] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the function gives, in tensors of the caller's own."""
        with torch.cuda.device(inputs[0].device):
            if self.graph is None or [t.shape for t in inputs] != [t.shape for t in self.inputs]:
                self._record(inputs)
            for held, given in zip(self.inputs, inputs, strict=True):
                held.copy_(given)
            self.replay()
            return tuple(output.clone() for output in self.outputs)

    def replay(self) -> None:
        """The recorded kernels once more, on what they were last given."""
        assert self.graph
        self.graph.replay()

    def _record(self, inputs: Sequence[Tensor]) -> None:
        self.inputs = [tensor.clone() for tensor in inputs]
        apart = torch.cuda.Stream(inputs[0].device)  # type: ignore[no-untyped-call]
        apart.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(apart):
            for _ in range(2):  # libraries make themselves ready
                self.function(*(tensor.clone() for tensor in inputs))
        torch.cuda.current_stream().wait_stream(apart)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = self.function(*self.inputs)
