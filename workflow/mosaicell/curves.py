"""The course of a training: a table for the log, and loss and validation F1 as a picture.

Idea: two panels above each other share the axis of steps. All a reader needs is the shape of a
curve and the numbers at its ends, so ticks stand at the ends, and the best F1 is marked.
"""

from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH, PANEL, LEFT, MARGIN = 640, 220, 70, 30  # pixels
INK, GREY, BEST = (30, 30, 30), (190, 190, 190), (200, 60, 30)


class Look(NamedTuple):
    """What a validation has seen."""

    step: int
    loss: float  # mean since the look before
    f1: float


def best_of(looks: list[Look]) -> int:
    """Number of the look with the best F1: the first one of equals."""
    return max(range(len(looks)), key=lambda i: looks[i].f1)


def table(looks: list[Look]) -> str:
    """The looks as lines of text."""
    lines = [f"{step:>8}{loss:>10.4f}{f1:>8.3f}" for step, loss, f1 in looks]
    return "\n".join([f"{'step':>8}{'loss':>10}{'F1':>8}", *lines])


def draw_curves(looks: list[Look], path: Path) -> None:
    """Draw loss and F1 against steps.

    Parameters
    ----------
    looks : list of Look
        At least one.
    path : Path
        PNG file.
    """
    picture = Image.new("RGB", (WIDTH, 2 * PANEL), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    steps = [look.step for look in looks]
    panels = [
        ("loss", [look.loss for look in looks], max(look.loss for look in looks)),
        ("F1", [look.f1 for look in looks], 1.0),
    ]
    for row, (name, values, top) in enumerate(panels):
        high, low = row * PANEL + MARGIN, (row + 1) * PANEL - MARGIN
        points = [
            (
                LEFT + (WIDTH - LEFT - MARGIN) * step / steps[-1],
                low - (low - high) * value / (top or 1.0),
            )
            for step, value in zip(steps, values, strict=True)
        ]
        for height, value in ((high, top), (low, 0.0)):
            pen.line([(LEFT, height), (WIDTH - MARGIN, height)], fill=GREY)
            pen.text((LEFT - 8, height), f"{value:.3g}", fill=INK, font=font, anchor="rm")
        pen.text((LEFT - 8, (high + low) / 2), name, fill=INK, font=font, anchor="rm")
        pen.line(points, fill=INK, width=2)
        x, y = points[best_of(looks)]
        pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=BEST)
        said = f"{values[best_of(looks)]:.3f}"
        pen.text((x - 8, max(y - 8, high + 8)), said, fill=BEST, font=font, anchor="rs")
        pen.text((LEFT, low + 4), "0", fill=INK, font=font, anchor="mt")
        said = f"{steps[-1]} steps"
        pen.text((WIDTH - MARGIN, low + 4), said, fill=INK, font=font, anchor="rt")
    picture.save(path)
