"""Gaussian smoothing as matrix products: SciPy's numbers at several times its speed."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

# Voxels along the smoothed axis that one product answers.
TILE = 16
# Multiply-adds of a product. OpenBLAS starts threads of its own beyond this, and ours are busy already.
PRODUCT = 1 << 18
# Rows of a slice that are smoothed along y and then, while in the cache, along x.
ROWS = 128


class GaussianKernel:
    """A sampled Gaussian, and the band matrix that applies it to a tile of voxels.

    A line of TILE + 2 x radius voxels times the matrix is TILE smoothed voxels. Half of the factors are zeros,
    but the product runs at the speed of a BLAS; and all in float64, as SciPy sums: the float32 results differ
    from SciPy's only where two sums that are some 1e-16 apart round to either side.

    Args:
        sigma: standard deviation, voxels, > 0.
        truncate: where the Gaussian is cut off, standard deviations, > 0.
    """

    def __init__(self, sigma: float, truncate: float) -> None:
        self.radius = int(truncate * sigma + 0.5)
        weights = np.exp(-0.5 / sigma**2 * np.arange(-self.radius, self.radius + 1) ** 2)
        weights /= weights.sum()
        self.matrix = np.zeros((TILE + 2 * self.radius, TILE))
        for column in range(TILE):
            self.matrix[column : column + len(weights), column] = weights
        self.transposed = np.ascontiguousarray(self.matrix.T)
        self.columns = max(TILE, PRODUCT // self.matrix.size)

    def along_first(self, padded: np.ndarray, start: int, count: int) -> np.ndarray:
        """Smoothed rows start .. start + count, at most TILE, of rows that were padded by the radius."""
        reach = count + 2 * self.radius
        answer: np.ndarray = self.transposed[:count, :reach] @ padded[start : start + reach]
        return answer

    def along_last(self, padded: np.ndarray, out: np.ndarray) -> None:
        """Smooth C-contiguous float64 rows that were padded by the radius; `out` is float64 too."""
        rows, length = out.shape
        tiles, rest = divmod(length, TILE)
        if tiles:
            windows = as_strided(
                padded, (tiles, rows, len(self.matrix)), (TILE * 8, padded.strides[0], 8), writeable=False
            )
            answers = as_strided(out, (tiles, rows, TILE), (TILE * 8, out.strides[0], 8))
            np.matmul(windows, self.matrix, out=answers)
        if rest:
            reach = rest + 2 * self.radius
            last = padded[:, tiles * TILE : tiles * TILE + reach]
            np.matmul(last, self.matrix[:reach, :rest], out=out[:, tiles * TILE :])


def mirrored(length: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Which voxels stand beyond both ends of a line: (d c b a | a b c d | d c b a), as often as needed."""
    beyond = np.arange(radius)
    index = np.concatenate([beyond - radius, beyond + length]) % (2 * length)
    index = np.minimum(index, 2 * length - 1 - index)
    return index[:radius], index[radius:]


def smooth_along_z(volume: np.ndarray, smoothed: np.ndarray, kernel: GaussianKernel) -> None:
    """Smooth (D, H, W) of any real dtype along z, into float32 of the same shape."""
    depth, height, width = volume.shape
    radius = kernel.radius
    before, after = mirrored(depth, radius)
    wide = min(width, kernel.columns)
    high = max(1, kernel.columns // width)
    buffer = np.empty((depth + 2 * radius) * high * wide)
    with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at what comes out
        for y in range(0, height, high):
            for x in range(0, width, wide):
                source = volume[:, y : y + high, x : x + wide]
                target = smoothed[:, y : y + high, x : x + wide]
                _, rows, columns = source.shape
                padded = buffer[: (depth + 2 * radius) * rows * columns].reshape(-1, rows, columns)
                inner = padded[radius : radius + depth]
                inner[...] = source
                padded[:radius], padded[radius + depth :] = inner[before], inner[after]
                flat = padded.reshape(len(padded), -1)
                for z in range(0, depth, TILE):
                    count = min(TILE, depth - z)
                    target[z : z + count] = kernel.along_first(flat, z, count).reshape(count, rows, columns)


def smooth_within_slices(smoothed: np.ndarray, kernel: GaussianKernel) -> None:
    """Smooth float32 (D, H, W) along y, then along x, in place; float32 in between, as SciPy stores it."""
    _, height, width = smoothed.shape
    radius = kernel.radius
    above, below = mirrored(height, radius)
    left, right = mirrored(width, radius)
    slice_ = np.empty((height + 2 * radius, width))
    inner = slice_[radius : radius + height]
    rows = np.empty((ROWS, width + 2 * radius))
    narrow = np.empty((TILE, width), dtype=np.float32)
    answers = np.empty((ROWS, width))
    with np.errstate(invalid="ignore", over="ignore"):
        for image in smoothed:
            inner[...] = image
            slice_[:radius], slice_[radius + height :] = inner[above], inner[below]
            for start in range(0, height, ROWS):
                count = min(ROWS, height - start)
                for y in range(0, count, TILE):
                    high = min(TILE, count - y)
                    for x in range(0, width, kernel.columns):
                        columns = slice(x, x + kernel.columns)
                        narrow[:high, columns] = kernel.along_first(slice_[:, columns], start + y, high)
                    rows[y : y + high, radius : radius + width] = narrow[:high]
                middle = rows[:count, radius : radius + width]
                rows[:count, :radius], rows[:count, radius + width :] = middle[:, left], middle[:, right]
                kernel.along_last(rows[:count], answers[:count])
                image[start : start + count] = answers[:count]
