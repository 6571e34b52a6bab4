"""Evolution as a picture that moves: receptive fields, allele frequencies and accuracy, generation by generation."""

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from nne.analysis.figures import fields_of, painted
from nne.learners.evolved import Evolved, evolved
from nne.learners.network import NetworkEvolution
from nne.population.factory import blueprint, patterns
from nne.population.weights import chosen_expression
from nne.training import data, device
from nne.training.errors import require
from nne.training.io.results import Run
from nne.training.logging import figures
from nne.training.logging.progress import track

FRAMES, SECONDS, LAST = 60, 0.12, 2.5  # how many, how long each stays, and the last
SUFFIXES = (".webp", ".gif")


def animate(run: Run, out: Path) -> None:
    """Evolve again what a run evolved, which is the same bits, and draw it on the way.

    Raises:
        UserError: it is no evolution of a sparse network, or came out otherwise here than where it was run.
    """
    require(out.suffix in SUFFIXES, f"an animation is one of {', '.join(SUFFIXES)}, not {out.suffix or 'a folder'}")
    result = evolved(run.folder, f"{run.folder}")
    network = result.config.network
    require(network is not None and not network.module, "only evolution of a sparse network has receptive fields")
    assert network is not None
    images = data.load(result.config.images, result.config.seed)
    if network.filters and network.shared:
        g = chosen_expression(result.config.learner.expression)
        sheet = partial(painted, patterns(result.config, len(images.classes)), g=g)
    else:
        sheet = partial(fields_of, *blueprint(result.config, images))
    curve, generations = run.curve, result.generation
    pictures = [drawn(t, p, generations, curve, sheet(p)) for t, p in replayed(result)]
    stays = [int(1000 * SECONDS)] * (len(pictures) - 1) + [int(1000 * LAST)]
    pictures[0].save(out, save_all=True, append_images=pictures[1:], duration=stays, loop=0, quality=85)


OTHERWISE = (
    "evolved again, the run came out otherwise: its kernel or its data are not the same here, or it was gone on with "
    "under another trainer.max_steps, by which selection grows stronger"
)


def replayed(result: Evolved) -> Iterator[tuple[int, Tensor]]:
    """``(generation, p)`` at so many generations, evenly apart; raises ``UserError`` unless the end is the run's."""
    config = result.config
    compute = device.choose(config.device, config.precision)
    learner = NetworkEvolution(config, data.load(config.images, config.seed).to(compute.device), compute)
    wanted = {round(i * result.generation / (FRAMES - 1)) for i in range(FRAMES)}
    yield 0, learner.evolution.p.cpu()
    for generation in track(range(1, result.generation + 1), "generations", result.generation):
        learner.step()
        if generation in wanted:
            yield generation, learner.evolution.p.cpu()
    same = torch.equal(learner.evolution.p.cpu().double(), result.p.double())
    require(same, OTHERWISE)


def drawn(
    generation: int, p: Tensor, generations: int, curve: list[tuple[int, float, float]], sheet: Tensor
) -> Image.Image:
    """One frame: what individuals reach so far, where allele frequencies are, what hidden units look for."""
    figure = Figure(figsize=(9.0, 3.4), dpi=110, layout="constrained")
    accuracy, alleles, fields = figure.subplots(1, 3, width_ratios=(1.1, 1, 1.6))
    points = [(step, value) for step, _, value in curve if step <= generation]
    accuracy.plot(*zip(*points, strict=True) if points else ((), ()), color=figures.COLOURS[0])
    accuracy.set(xlim=(0, generations), ylim=(0, 100), xlabel="generation", ylabel="test accuracy, %")
    accuracy.set_title(f"generation {generation}", fontsize=10)
    alleles.hist(p.double().numpy(), bins=40, range=(0, 1), color=figures.COLOURS[1])
    alleles.set(xlim=(0, 1), ylim=(0, len(p)), yscale="symlog", xlabel="allele frequency p", ylabel="genes")
    fields.imshow(sheet.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    fields.set_axis_off()
    fields.set_title("what hidden units look for", fontsize=10)
    pixels = BytesIO()
    figures.write(figure, pixels, format="png")
    return Image.open(pixels).convert("RGB")
