"""Depth that needs no camera: scenes of boxes and balls on a floor, and one real pair of stereo photographs."""

import zipfile
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

FAR = 1e9


def scene(size: int, chance: np.random.Generator) -> np.ndarray:
    """Disparity (one over the distance along the view), [size, size], of a floor, a wall, and things on the floor."""
    across = np.tan(np.radians(chance.uniform(20, 35)))
    places = (np.arange(size) + 0.5) / size * 2 - 1
    right, down = np.meshgrid(places * across, places * across)
    tilt = np.radians(chance.uniform(-5, 25))  # the camera looks down by this
    rays = np.stack(
        [right, down * np.cos(tilt) + np.sin(tilt), np.cos(tilt) - down * np.sin(tilt)], -1
    )  # x right, y down, z ahead; their length along the view is 1
    height = chance.uniform(0.8, 2.5)
    nearest = _wall(rays, np.array([0, 1.0, 0]), height)
    angle = chance.uniform(-0.7, 0.7)
    nearest = np.minimum(nearest, _wall(rays, np.array([np.sin(angle), 0, np.cos(angle)]), chance.uniform(5, 20)))
    for _ in range(chance.integers(1, 9)):
        ahead, extent = chance.uniform(1.5, 9), chance.uniform(0.2, 1.2, 3)
        middle = np.array([chance.uniform(-1, 1) * across * ahead, height - extent[1], ahead])
        if chance.random() < 0.5:
            found = _ball(rays, middle, extent[1])
        else:
            found = _box(rays, middle, extent, chance.uniform(0, np.pi))
        nearest = np.minimum(nearest, found)
    return (1 / nearest).astype(np.float32)


def _wall(rays: np.ndarray, normal: np.ndarray, distance: float) -> np.ndarray:
    along = rays @ normal
    return np.where(along > 1e-6, distance / np.maximum(along, 1e-6), FAR)


def _ball(rays: np.ndarray, middle: np.ndarray, radius: float) -> np.ndarray:
    a, b, c = (rays**2).sum(-1), rays @ middle, middle @ middle - radius**2
    inside = b**2 - a * c
    found = (b - np.sqrt(np.maximum(inside, 0))) / a
    return np.where((inside > 0) & (found > 0.1), found, FAR)


def _box(rays: np.ndarray, middle: np.ndarray, extent: np.ndarray, angle: float) -> np.ndarray:
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    turned, start = rays @ turn.T, -(turn @ middle)
    turned = np.where(np.abs(turned) < 1e-9, 1e-9, turned)
    ends = np.sort(np.stack([(-extent - start) / turned, (extent - start) / turned]), 0)
    enter, leave = ends[0].max(-1), ends[1].min(-1)
    return np.where((enter < leave) & (enter > 0.1), enter, FAR)


def scenes(count: int, size: int, seed: int) -> np.ndarray:
    """Disparity of many scenes, [count, size, size]."""
    chance = np.random.default_rng(seed)
    return np.stack([scene(size, chance) for _ in range(count)])


def stereo_disparity(wheel_files: Path) -> np.ndarray:
    """Measured disparity of the Middlebury scene "motorcycle" in pixels, infinite where it is not known."""
    with zipfile.ZipFile(wheel_files / "skimage" / "data" / "motorcycle_disp.npz") as archive:
        (name,) = archive.namelist()
        with archive.open(name) as file:
            return np.lib.format.read_array(file).astype(np.float32)


def squares(disparity: np.ndarray, sides: tuple[int, ...], step: float = 0.5) -> list[np.ndarray]:
    """Squares of a map, of several sizes, half overlapping."""
    rows, columns = disparity.shape
    return [
        disparity[top : top + side, left : left + side]
        for side in sides
        for top in range(0, rows - side + 1, int(side * step))
        for left in range(0, columns - side + 1, int(side * step))
    ]


def filled(disparity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A map whose holes have what stands nearest, and where there was something."""
    known = np.isfinite(disparity) & (disparity > 0)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return disparity[tuple(nearest)], known
