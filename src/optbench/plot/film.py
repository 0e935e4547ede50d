"""Paths that race over a surface, step by step: a GIF, or an MP4.

All runs are shown at the same step, which the title says. The first frames are a step apart; where there are more
steps than frames the later ones are further apart (the square of time), since most happens at the start. Behind each
run a tail of its latest frames fades; what is older stays as a faint line. The last frame shows the whole paths.

What does not move is drawn once. A GIF has 255 colours: those of the configurations are kept as they are, the others
are chosen from the frames. The same data gives the same bytes.
"""

from __future__ import annotations

import importlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from optbench.comparison import label_runs
from optbench.errors import UserError
from optbench.language import language, phrases
from optbench.plot.landscape import (
    Floats,
    Landscape,
    draw_marks,
    drawable,
    ground,
    named,
    overlap,
    recorded_paths,
    stripes,
    terminals,
)
from optbench.plot.style import footnote, legend_outside, styles
from optbench.plot.translate import PHRASES, chinese_font, in_chinese, translated
from optbench.records import Run, check_place, write_bytes

FILMS = (".gif", ".mp4")
FRAMES = 120
_DPI, _WIDEST = 100, 1280  # pixels of an inch; of the longer side at most
_FRAME, _LAST = 80, 2500  # milliseconds that a frame, and the last one, is shown
_TAIL = 18  # frames in which what a run left behind fades
_FAINT = 0.45  # opacity of what is older
_EVERY = 6  # of how many frames one is asked for its colours
_COLOURS = 255  # of the 256 of a GIF: one is for what does not change from frame to frame

Pixels = npt.NDArray[np.uint8]


class Race:
    """Runs on their way over a surface.

    Attributes:
        figure: what does not move, in the language of the figure; sizes and titles are its own, as for any figure.
        steps: the step that each frame shows, ascending, (frames,).
        colours: of the configurations, as in all figures.
        moving: what does: faint line, tail, runs that go on, runs that have ended, title.
    """

    def __init__(
        self, landscape: Landscape, runs: Sequence[Run], labels: Sequence[str] | None = None, frames: int = FRAMES
    ) -> None:
        """Draws what does not move.

        Args:
            landscape: the surface, with its critical points.
            runs: runs that recorded x0 (and x1) and steps; others are not drawn.
            labels: one a run; runs with the same label share a colour. None: what differs.
            frames: most frames.

        Raises:
            UserError: no run has such a path.
        """
        labels = label_runs(runs) if labels is None else labels
        self.figure, self._axes = ground(landscape)
        shown = [one for one in recorded_paths(landscape, runs, labels) if not np.isnan(one[1][:, 3]).any()]
        if not shown:
            raise UserError("none of these runs recorded a path over the surface")
        look = styles(labels)
        self._points = [drawable(path, landscape) for _, path in shown]
        self._at: list[Floats] = [path[:, 3] for _, path in shown]
        self.steps = frame_steps(max(int(at[-1]) for at in self._at), frames)
        self._styles = [look[label] for label, _ in shown]
        self.colours = tuple(dict.fromkeys(str(style["color"]) for style in self._styles))
        depths, above = stripes(self._points, landscape)
        self._widths = np.array([2.0 + 1.6 * depth for depth in depths])
        handles: dict[str, Any] = {}
        for (label, path), points in zip(shown, self._points, strict=True):
            handles.setdefault(named(label, path, landscape), Line2D([], [], linewidth=1.8, **look[label]))
            self._axes.scatter(
                points[:1, 0], points[:1, 1], s=30, marker="o", color="white", edgecolors=look[label]["color"], zorder=5
            )
        handles |= terminals() | draw_marks(self._axes, landscape, ends=True)
        footnote(self.figure, overlap(depths, above))
        legend_outside(self.figure, handles)
        self.moving = self._movable()

    def _movable(self) -> tuple[LineCollection, LineCollection, Any, Any, Text]:
        axes, sizes = self._axes, (5.0 + self._widths) ** 2
        nowhere = np.zeros(len(self._styles))
        colours = [style["color"] for style in self._styles]
        lines = [LineCollection([], capstyle="butt", joinstyle="round", zorder=4) for _ in range(2)]
        for line in lines:
            axes.add_collection(line, autolim=False)
        ends = [axes.scatter(nowhere, nowhere, s=sizes, marker=shape, color=colours, edgecolors="white",
                             zorder=7) for shape in ("o", "s")]  # fmt: skip
        title = axes.set_title("step 0 of 0", fontsize=11, loc="right")
        axes.title.set_horizontalalignment("left")
        axes.title.set_x(0.0)
        return lines[0], lines[1], ends[0], ends[1], title

    def show(self, frame: int) -> None:
        """Puts what moves where it is in a frame; in the last, paths are whole."""
        faint, tail, running, ended, title = self.moving
        now = [int(np.searchsorted(at, self.steps[frame], side="right")) for at in self._at]
        old, new, old_style, new_style = [], [], [], []
        whole = frame == len(self.steps) - 1
        since = range(0 if whole else max(0, frame - _TAIL), frame)
        for k, (points, at, style) in enumerate(zip(self._points, self._at, self._styles, strict=True)):
            cuts = [int(np.searchsorted(at, self.steps[f], side="right")) for f in since] + [now[k]]
            old.append(points[: cuts[0]])
            old_style.append((to_rgba(style["color"], _FAINT), style["linestyle"], 1.0))
            for f, a, b in zip(since, cuts, cuts[1:], strict=False):
                if b > a:
                    opacity = 1.0 if whole else 1 - (1 - _FAINT) * (frame - 1 - f) / _TAIL
                    new.append(points[max(0, a - 1) : b])
                    new_style.append((to_rgba(style["color"], opacity), style["linestyle"], self._widths[k]))
        for line, paths, looks in ((faint, old, old_style), (tail, new, new_style)):
            line.set_segments(paths)
            line.set_color([colour for colour, _, _ in looks])
            line.set_linestyle("-")  # dashes and widths of unequal number are repeated to their least common multiple
            line.set_linewidth([width for *_, width in looks] or 1.0)
            line.set_linestyle([dashes for _, dashes, _ in looks] or "-")
        heads = np.array([points[max(1, n) - 1] for points, n in zip(self._points, now, strict=True)])
        over = np.array([n == len(at) and len(at) > 1 for n, at in zip(now, self._at, strict=True)])
        running.set_offsets(np.where(over[:, None], np.nan, heads))
        ended.set_offsets(np.where(over[:, None], heads, np.nan))
        title.set_text(f"step {self.steps[frame]} of {self.steps[-1]}")

    def images(self, tongue: str | None = None) -> Iterator[Pixels]:
        """The frames, (height, width, 3) bytes each, with even sides, in a language; see `optbench.plot.save`."""
        canvas: Any = FigureCanvasAgg(self.figure)  # whose methods have no types
        tongue = tongue or language()
        chinese = tongue == "zh" and chinese_font() is not None
        with translated(self.figure, tongue):
            self.figure.set_dpi(min(_DPI, _WIDEST / max(self.figure.get_size_inches())))
            self.show(len(self.steps) - 1)
            self.figure.draw_without_rendering()
            self.figure.set_layout_engine("none")  # the axes stay where they are, whatever the title's length
            for artist in self.moving:
                artist.set_animated(True)
            canvas.draw()
            still = canvas.copy_from_bbox(self.figure.bbox)
            for frame in range(len(self.steps)):
                self.show(frame)
                if chinese:
                    self.moving[-1].set_text(in_chinese(self.moving[-1].get_text(), [phrases(PHRASES)]))
                canvas.restore_region(still)
                for artist in self.moving:
                    self._axes.draw_artist(artist)
                pixels = np.asarray(canvas.buffer_rgba())[..., :3]
                yield np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])


def frame_steps(last: int, frames: int = FRAMES) -> npt.NDArray[np.int64]:
    """The steps that a film of `last` steps shows, from 0 to the last, at most `frames` of them (two at least)."""
    if last < frames:
        return np.arange(last + 1)
    time = np.linspace(0.0, 1.0, max(2, frames))
    return np.unique(np.round(last * time**2).astype(np.int64))


def check_film(path: Path) -> None:
    """Refuses a film that cannot be written, before the work.

    Raises:
        UserError: an MP4 without its encoder.
        OutputError: the place cannot be written to.
    """
    if path.suffix.lower() == ".mp4":
        _encoder()
    check_place(path)


def _encoder() -> Any:
    try:
        return importlib.import_module("imageio_ffmpeg")
    except ImportError:
        raise UserError(".mp4 needs imageio-ffmpeg", "pip install 'optbench[video]', or -o race.gif") from None


def save_race(
    race: Race, path: Path | str, tongue: str | None = None, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Writes a film, whole or not at all; the suffix says the format.

    Args:
        race: the film.
        path: of the file, .gif or .mp4.
        tongue: en or zh; None: see `optbench.plot.save`.
        progress: is told how many of how many frames are drawn.

    Raises:
        UserError: another suffix; an MP4 without its encoder.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    makers: dict[str, Callable[[Race, list[Pixels]], bytes]] = {".gif": _gif, ".mp4": _mp4}
    if path.suffix.lower() not in makers:
        raise UserError(f"{path}: expected a film ending in {' or '.join(FILMS)}")
    frames = []
    for frame in race.images(tongue):
        frames.append(frame)
        if progress is not None:
            progress(len(frames), len(race.steps))
    write_bytes(path, makers[path.suffix.lower()](race, frames))
    return path


def _packed(pixels: Pixels) -> npt.NDArray[np.int32]:
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    packed: npt.NDArray[np.int32] = (red << 16) | (green << 8) | blue
    return packed


def _palette(race: Race, frames: Sequence[Pixels]) -> npt.NDArray[np.int32]:
    """(colours, 3): white, black, the configurations' own, and what else the frames have most of."""
    own = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in ("#ffffff", "#000000", *race.colours)]
    own = [list(colour) for colour in dict.fromkeys(map(tuple, own))]
    some = np.concatenate([*frames[::_EVERY], frames[-1]])
    found = Image.fromarray(some).quantize(_COLOURS - len(own), method=Image.Quantize.MEDIANCUT).getpalette()
    return np.array([*own, *np.reshape(found or [], (-1, 3))[: _COLOURS - len(own)]], dtype=np.int32)


def _gif(race: Race, frames: Sequence[Pixels]) -> bytes:
    palette = _palette(race, frames)
    seen = np.zeros(1 << 24, dtype=bool)
    for frame in frames:
        seen[_packed(frame)] = True
    index = np.zeros(1 << 24, dtype=np.uint8)
    colours = np.flatnonzero(seen)
    for some in np.array_split(colours, max(1, len(colours) // 4096)):
        rgb = np.stack([some >> 16, some >> 8 & 255, some & 255], axis=-1)
        index[some] = np.square(rgb[:, None] - palette[None]).sum(axis=-1).argmin(axis=1)
    images = []
    for frame in frames:
        image = Image.fromarray(index[_packed(frame)], mode="P")
        image.putpalette(palette.astype(np.uint8).tobytes())
        images.append(image)
    times = [_FRAME] * (len(images) - 1) + [_LAST]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0, optimize=False,
                   disposal=1)  # fmt: skip
    return buffer.getvalue()


def _mp4(race: Race, frames: Sequence[Pixels]) -> bytes:
    height, width = frames[0].shape[:2]
    held = [*frames, *[frames[-1]] * round(_LAST / _FRAME)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "race.mp4"
        # one thread and no date: the same frames give the same bytes
        exact = ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1",
                 "-crf", "20", "-preset", "medium", "-movflags", "+faststart"]  # fmt: skip
        writer = _encoder().write_frames(str(file), (width, height), fps=1000 / _FRAME, codec="libx264", quality=None,
                                         macro_block_size=2, output_params=exact)  # fmt: skip
        writer.send(None)
        for frame in held:
            writer.send(frame.tobytes())
        writer.close()
        return file.read_bytes()
