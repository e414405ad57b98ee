import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexor.inference.windows import blending_weight, sliding_views


@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.tuples(*[st.floats(0, 1)] * 3),
    st.tuples(*[st.floats(0.05, 1)] * 3),
    st.floats(1, 3),
)
def test_windows_cover_the_region_inside_the_volume(shape, start, length, step: float) -> None:
    lower = tuple(s * n * 0.9 for s, n in zip(start, shape, strict=True))
    upper = tuple(min(n, a + max(0.1, f * n)) for a, f, n in zip(lower, length, shape, strict=True))
    window = (4, 6, 8)
    views = sliding_views(lower, upper, (step, step, step), window, shape)
    covered = np.zeros(shape, bool)
    for view in views:
        for axis in range(3):
            assert view.lower[axis] >= -1e-6
            assert view.upper[axis] <= shape[axis] + 1e-6
            span = view.upper[axis] - view.lower[axis]
            assert abs(span - min(step * window[axis], shape[axis])) < 1e-6
        covered[view.footprint(shape)] = True
    region = tuple(
        slice(int(np.ceil(a - 0.5)), int(np.ceil(b - 0.5))) for a, b in zip(lower, upper, strict=True)
    )
    assert covered[region].all()


def test_neighbours_overlap_by_half() -> None:
    views = sliding_views((0, 0, 0), (4, 6, 32), (1, 1, 1), (4, 6, 8), (4, 6, 40))
    starts = [view.lower[2] for view in views]
    assert starts[0] == 0
    assert max(np.diff(starts)) <= 4 + 1e-9
    assert views[-1].upper[2] == 32


def test_the_middle_of_a_window_weighs_most() -> None:
    weight = blending_weight((5, 7, 9))
    assert torch.all(weight > 0)
    assert np.unravel_index(int(weight.argmax()), weight.shape) == (2, 3, 4)
    torch.testing.assert_close(weight, weight.flip(0, 1, 2))
