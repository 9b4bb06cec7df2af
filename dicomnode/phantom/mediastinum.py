"""Heart, great vessels, windpipe, gullet and the fat between the lungs, as continuous shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.fields import Coordinates, Field, Table, Tube, ellipsoid, smooth_union, superellipse

_SPINE_Y = Table(
    (-170, -146, -113, -82, -54, -26, 0, 25, 48, 64, 91, 120, 142, 165),
    (-28, -25, -20, -16, -12, -10, -10, -13, -17, -20, -25, -35, -44, -55),
)
_SPINE_SCALE = Table((-160, -80, 0, 80, 160), (1.25, 1.12, 1.0, 0.9, 0.8))

GREAT_VESSELS = {
    "aorta": Tube(
        (
            (-2, -98, 2),
            (-9, -102, 25),
            (-12, -101, 45),
            (-9, -98, 62),
            (0, -90, 76),
            (9, -76, 80),
            (17, -58, 74),
            (19, -47, 58),
            (18, -42, 30),
            (15, -40, 0),
            (12, -41, -25),
            (7, -45, -60),
            (3, -51, -100),
            (1, -60, -150),
            (0, -66, -185),
        ),
        (14, 15, 15.5, 15, 14, 13.5, 13, 12.5, 12, 11.5, 11, 11, 10.5, 10.5, 10),
    ),
    "cava_superior": Tube(((-27, -82, 8), (-27, -84, 40), (-26, -87, 78), (-27, -90, 120)), (9, 9, 9, 7)),
    "cava_inferior": Tube(((-25, -75, -20), (-26, -74, -60), (-26, -73, -170)), (13, 13, 13)),
    "pulmonary_trunk": Tube(((20, -122, 5), (16, -110, 28), (10, -92, 38)), (14, 14.5, 13)),
    "pulmonary_right": Tube(((10, -92, 38), (-14, -80, 34), (-36, -71, 26), (-42, -67, 14)), (12, 11, 9, 7)),
    "pulmonary_left": Tube(((12, -94, 38), (29, -72, 37), (38, -58, 30), (41, -55, 16)), (12, 10.5, 9, 7)),
    "veins_right": Tube(((-8, -70, 2), (-28, -70, 2), (-40, -74, 2)), (10, 8, 6.5)),
    "veins_left": Tube(((10, -68, 4), (27, -68, 6), (39, -74, 10)), (10, 8, 6.5)),
    "veins_right_lower": Tube(((-6, -66, -8), (-24, -58, -12), (-34, -54, -14)), (9, 7, 6)),
    "veins_left_lower": Tube(((10, -64, -4), (24, -56, -9), (34, -52, -12)), (9, 7, 6)),
    "brachiocephalic_artery": Tube(
        ((-4, -92, 84), (-10, -88, 115), (-16, -86, 140), (-18, -84, 170)), (7, 6, 4, 3.5)
    ),
    "carotid_left": Tube(((5, -84, 86), (14, -82, 115), (18, -84, 170)), (4.5, 4, 3.5)),
    "subclavian_left": Tube(
        ((13, -70, 84), (20, -66, 115), (36, -72, 136), (80, -74, 142)), (6, 5, 4.5, 4.5)
    ),
    "subclavian_right": Tube(((-16, -86, 132), (-38, -74, 140), (-80, -74, 146)), (4.5, 4.5, 4.5)),
    "brachiocephalic_vein_left": Tube(
        ((-24, -92, 88), (5, -101, 100), (30, -98, 122), (38, -94, 150)), (7, 6.5, 6, 5)
    ),
    "brachiocephalic_vein_right": Tube(((-27, -88, 90), (-28, -90, 118), (-36, -92, 150)), (8, 7, 5)),
    "azygos": Tube(
        ((-6, -38, -150), (-8, -36, 0), (-9, -38, 48), (-20, -60, 62), (-26, -80, 58)), (3, 3.5, 4, 4, 4)
    ),
}

TRACHEA = Tube(
    ((6, -96, 175), (4, -88, 150), (1, -78, 125), (-1, -70, 100), (-4, -64, 76), (-4, -60, 58)),
    (8.5, 8.5, 8.6, 8.8, 9, 9.2),
)
MAIN_BRONCHUS_RIGHT = Tube(
    ((-5, -60, 60), (-18, -59, 48), (-30, -61, 38), (-37, -62, 24)), (7.6, 7.2, 6.2, 5.4)
)
MAIN_BRONCHUS_LEFT = Tube(((-2, -60, 60), (12, -57, 48), (27, -55, 36), (40, -57, 26)), (7.0, 6.4, 6.0, 5.4))
AIRWAY_WALL_MM = 1.6

OESOPHAGUS = Tube(
    (
        (8, -74, 170),
        (10, -66, 130),
        (8, -62, 100),
        (6, -55, 75),
        (1, -51, 50),
        (0, -50, 20),
        (0, -54, -5),
        (2, -61, -30),
        (4, -70, -55),
        (10, -80, -80),
        (26, -86, -98),
    ),
    (6.5, 6, 6, 6, 6, 6, 6, 6.5, 7, 7.5, 8),
)
AIRWAYS = {"trachea": TRACHEA, "bronchus_right": MAIN_BRONCHUS_RIGHT, "bronchus_left": MAIN_BRONCHUS_LEFT}
TUBES = {**GREAT_VESSELS, **AIRWAYS, "oesophagus": OESOPHAGUS}
_MARGIN_MM = {**dict.fromkeys(AIRWAYS, AIRWAY_WALL_MM + 1), "oesophagus": 2.0}

REACH_MM = ((-85.0, 85.0), (-175.0, 60.0))
"""x and y between which all of the mediastinum lies."""


def spine_centre_y_at(height: float) -> float:
    """y of the middle of the vertebral bodies at one height, mm."""
    return _SPINE_Y.at(height)


def spine_centre_y(z: Field) -> Field:
    """y of the middle of the vertebral bodies at each height, mm."""
    return _SPINE_Y(z)


def spine_scale(z: Field) -> Field:
    """Size of the vertebra at each height against the eighth thoracic one."""
    return _SPINE_SCALE(z)


def vertebral_body(at: Coordinates) -> Field:
    """The column of vertebral bodies and discs, mm."""
    scale = spine_scale(at.z)
    return superellipse(at.x, at.y - spine_centre_y(at.z), 17.5 * scale, 14.5 * scale, (2.5, 2.5))


def _axes(long: tuple[float, float, float]) -> NDArray[np.float64]:
    first = np.array(long) / np.linalg.norm(long)
    second = np.cross(first, (0, 0, 1.0))
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)])


@dataclass(frozen=True)
class Mediastinum:
    """Everything between the two pleurae."""

    @cached_property
    def _heart_axes(self) -> NDArray[np.float64]:
        return _axes((0.68, -0.52, -0.5))

    def heart(self, at: Coordinates) -> Field:
        """Heart muscle and blood, mm."""
        ventricles = ellipsoid(at, (17, -113, -24), (56, 40, 38), self._heart_axes)
        atria = ellipsoid(at, (-14, -93, -8), (35, 38, 40))
        left_atrium = ellipsoid(at, (0, -70, 2), (32, 17, 22))
        return smooth_union(smooth_union(ventricles, atria, 14), left_atrium, 10)

    def ventricle_blood(self, at: Coordinates) -> Field:
        """The left ventricle's cavity, a shade darker than its muscle without contrast, mm."""
        return ellipsoid(at, (28, -108, -28), (36, 20, 20), self._heart_axes)

    def septum(self, at: Coordinates, sign: float) -> Field:
        """Negative on one side (``sign`` -1 right, 1 left) of the sheet that parts the lungs, mm."""
        middle = np.float32(-1.5) + 2 * np.sin(at.z * np.float32(0.02))
        thickness = 2.2 + 9 * np.clip((-at.y - 138) / 28, 0, 1) + 8 * np.clip((at.y + 32) / 20, 0, 1)
        thickness = thickness + 11 * np.clip((-42 - at.z) / 25, 0, 1) * np.clip((-30 - at.y) / 30, 0, 1)
        return (thickness - np.float32(sign) * (at.x - middle)).astype(np.float32)

    def fat(self, at: Coordinates) -> Field:
        """Pericardial and upper mediastinal fat without the organs in it, mm."""
        pericardial = self.heart(at) - (np.float32(3.5) + 4 * np.clip((-20 - at.z) / 30, 0, 1))
        rise = np.clip((at.z - 10) / 40, 0, 1).astype(np.float32)
        upper = superellipse(
            at.x + np.float32(1), at.y + np.float32(82), 6 + 15 * rise, 26 + 12 * rise, (2.2, 2.2)
        )
        return smooth_union(pericardial.astype(np.float32), upper, 8)

    @staticmethod
    def rib_necks(at: Coordinates) -> Field:
        """The wedge on each side of the spine that holds the necks of the ribs, mm."""
        behind = at.y - spine_centre_y(at.z) - np.float32(3)
        return np.maximum((np.abs(at.x) - np.float32(19) - behind) * np.float32(0.7), -behind)

    def tubes(self, at: Coordinates) -> dict[str, Field]:
        """Every vessel, airway and the gullet near these heights, by name; mm to the inner wall."""
        fields = {name: tube.field(at, 9.0) for name, tube in TUBES.items()}
        return {name: field for name, field in fields.items() if field is not None}

    def outline(self, at: Coordinates, tubes: Mapping[str, Field] | None = None) -> Field:
        """All of it, the lungs' medial border; mm. ``tubes`` saves computing them again."""
        field = smooth_union(self.fat(at), vertebral_body(at) - 3, 10)
        field = smooth_union(field, self.rib_necks(at), 8)
        for name, part in (self.tubes(at) if tubes is None else tubes).items():
            field = smooth_union(field, part - np.float32(_MARGIN_MM.get(name, 1.5)), 7)
        return field
