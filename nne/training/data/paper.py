"""How much ink lies on paper, whatever the colours, the light, and what lies round the sheet.

The paper is a smooth surface of colour, fitted robustly; ink is what differs from it. Lines that run across the sheet
and what lies round it are no ink.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nne.training.data.picture import Pixels

Mask = NDArray[np.bool_]

ROUNDS = 12  # of a robust fit
KEPT = 0.4  # share of the pixels that are surely paper: a bold digit fills less than the rest
CRISP = 0.83  # share of the variance that two shades explain where there are no others
CONTRAST = 0.08  # between ink and paper, of the range there is; less is an empty page
NOISE = 6.0  # standard deviations of the paper's noise that ink stands out by
SMALLEST = 40  # pixels a side of a picture that may show more than the paper
COARSE = 150  # pixels a side that tell a sheet from a desk
STROKE = 0.4  # share of the ink's full strength that counts as a stroke


def ink(colour: Pixels) -> Pixels:
    """``[height, width]`` in [0, 1]: 0 paper, 1 full ink; all 0 on an empty page. ``colour: [height, width, 3]``."""
    top, bottom, left, right = sheet(colour)
    difference = _difference(colour[top:bottom, left:right])
    smooth = without_lines(ndimage.gaussian_filter(difference, min(difference.shape) / 400))
    most = float(np.quantile(smooth, 0.9995)) if smooth.size > 10_000 else float(smooth.max())
    noise = 1.4826 * float(np.median(smooth[smooth <= max(0.5 * most, float(smooth.min()))]))
    if most < max(CONTRAST, NOISE * noise):
        return np.zeros_like(difference)
    strength = float(np.median(smooth[smooth > 0.5 * most]))
    return np.clip(smooth / strength, 0, 1)


def sheet(colour: Pixels) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the sheet: of the whole picture, unless something else lies all round it."""
    height, width = colour.shape[:2]
    step = max(min(height, width) // COARSE, 1)
    whole = 0, height, 0, width
    if min(height, width) < SMALLEST:
        return whole
    grey = ndimage.gaussian_filter(colour.mean(axis=-1), min(height, width) / 100)[::step, ::step]
    best, size = None, 0.15
    for level in np.linspace(grey.min(), grey.max(), 12)[1:-1]:
        for part in (grey > level, grey < level):
            labels, count = ndimage.label(part)
            largest = 1 + int(np.bincount(labels.flat)[1:].argmax()) if count else 0
            region = ndimage.binary_fill_holes(labels == largest)
            share = float(region.mean())
            touches = any(side[0].any() or side[-1].any() for side in (region, region.T))
            if not touches and size < share < 0.97 and _is_rectangle(region):
                best, size = region, share
    if best is None:
        return whole
    top, bottom, left, right = (step * side for side in _inside(best))
    return top, bottom, left, right


def _is_rectangle(region: Mask) -> bool:
    """Whether some turned rectangle is filled by it, which an oval fills to 79 %."""
    outline = np.argwhere(region & ~ndimage.binary_erosion(region)).astype(float)
    angles = np.radians(np.arange(0, 90, 3))
    across = outline @ np.stack([np.cos(angles), np.sin(angles)])
    along = outline @ np.stack([-np.sin(angles), np.cos(angles)])
    box = (np.ptp(across, axis=0) + 1) * (np.ptp(along, axis=0) + 1)
    return bool(region.sum() > 0.88 * box.min())


def _inside(region: Mask) -> tuple[int, int, int, int]:
    """The largest rectangle about the region's middle whose border lies within it, shrunk from the bounding box."""
    rows, columns = np.nonzero(region.any(axis=1))[0], np.nonzero(region.any(axis=0))[0]
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    margin = max(round(0.015 * min(region.shape)), 1)
    while bottom - top > 4 and right - left > 4:
        inside = region[top:bottom, left:right]
        sides = inside[0], inside[-1], inside[:, 0], inside[:, -1]
        missing = [1 - float(side.mean()) for side in sides]
        worst = int(np.argmax(missing))
        if missing[worst] == 0:
            break
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return top + margin, bottom - margin, left + margin, right - margin


def _difference(colour: Pixels) -> Pixels:
    """How far each pixel is from the paper, as a share of the range that the paper leaves for ink."""
    height, width = colour.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    step = max(1, int((height * width / 20_000) ** 0.5))
    basis, values = terms[::step, ::step].reshape(-1, 6), colour[::step, ::step].reshape(-1, 3)
    ring = (np.abs(basis[:, 1]) > 0.9) | (np.abs(basis[:, 2]) > 0.9)
    paper = (terms @ _surface(basis, values, ring)).clip(0, 1)
    room = np.maximum(paper, 1 - paper).mean(axis=-1)
    difference = np.linalg.norm(colour - paper, axis=-1) / 3**0.5 / room
    return difference if min(height, width) < 100 else _without_shadows(colour, difference, room)


def _surface(basis: Pixels, values: Pixels, ring: Mask) -> Pixels:
    """``[6, 3]``: the smooth surface that most pixels lie on, from those at the edge; of two crisp shades, one."""
    if (shade := _of_two(values.mean(axis=1), ring)) is not None:
        return np.vstack([np.median(values[shade], axis=0), np.zeros((5, 3))])
    chosen = ring & (np.abs(values - np.median(values[ring], axis=0)).mean(axis=1) < 0.25)
    fit = np.zeros((6, 3))
    for rounds in range(ROUNDS):
        terms = (1, 3, 3, 3)[rounds] if rounds < 4 else 6
        fit[:terms] = np.linalg.lstsq(basis[chosen][:, :terms], values[chosen], rcond=None)[0]
        distance = np.linalg.norm(values - basis @ fit, axis=1)
        kept = np.quantile(distance, KEPT)  # of normal noise, this is half a standard deviation
        chosen = distance <= (kept if rounds < ROUNDS // 2 else 5.7 * kept + 0.004)
    return fit


def _of_two(grey: Pixels, ring: Mask) -> Mask | None:
    """The pixels of the paper where there are but two shades: the lighter one, unless the edge is of the darker."""
    order = np.sort(grey)
    if order[0] == order[-1]:
        return None
    count = np.arange(1, len(order))
    low, total = np.cumsum(order)[:-1], order.sum()
    between = (low / count - (total - low) / (len(order) - count)) ** 2 * count * (len(order) - count)
    best = int(between.argmax())
    if between[best] < CRISP * len(order) ** 2 * max(float(order.var()), 1e-9):
        return None
    dark = grey <= order[best]
    paper: Mask = dark if dark[ring].mean() > 0.7 else ~dark
    return paper


def _without_shadows(colour: Pixels, difference: Pixels, room: Pixels) -> Pixels:
    """The same against what the paper near each pixel is like, which follows shadows."""
    paper = difference < 0.5 * np.quantile(difference, 0.995)
    paper = ndimage.binary_erosion(paper, iterations=2, border_value=1)
    spread = min(colour.shape[:2]) / 10
    step = max(int(spread / 5), 1)
    sample, there = colour[::step, ::step], paper[::step, ::step]
    weighted = np.dstack([np.where(there[..., None], sample, 0), there])
    blurred = ndimage.gaussian_filter(weighted, (spread / step, spread / step, 0))
    factors = *(full / few for full, few in zip(paper.shape, there.shape, strict=True)), 1
    blurred = ndimage.zoom(blurred, factors, order=1)
    weight = blurred[..., 3]
    local = blurred[..., :3] / np.maximum(weight, 1e-6)[..., None]
    nearer = np.linalg.norm(colour - local, axis=-1) / 3**0.5 / room
    return np.where(weight > 0.05, np.minimum(difference, nearer), difference)


def without_lines(strength: Pixels) -> Pixels:
    """Less the straight thin lines that run across most of the sheet; strokes that cross one are mended."""
    cleaned = strength.copy()
    for rows in (cleaned, cleaned.T):
        if rows.shape[1] < SMALLEST:
            continue
        across = (rows > 0.15 * rows.max()).mean(axis=1) > 0.7
        for (line,) in ndimage.find_objects(ndimage.label(across)[0]):
            if line.stop - line.start <= max(0.03 * len(rows), 3):
                first, last = max(line.start - 1, 0), min(line.stop, len(rows) - 1)
                rows[first : last + 1] = np.minimum(rows[max(first - 1, 0)], rows[min(last + 1, len(rows) - 1)])
    return cleaned
