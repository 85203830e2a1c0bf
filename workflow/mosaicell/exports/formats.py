"""The formats of the stage `export`: the name of each, and what fills its folder."""

from .ctc import write_cells
from .geff import write_graph
from .napari import write_points
from .trackmate import write_spots

FORMATS = {
    "ctc": write_cells,
    "geff": write_graph,
    "napari": write_points,
    "trackmate": write_spots,
}
