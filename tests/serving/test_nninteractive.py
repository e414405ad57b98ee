"""nnInteractive's own client against a real server: every method, and what becomes of lost leases."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import numpy as np
import pytest
from running import SHAPE, Running, scene, served, start, until

from lexor import Session
from lexor.evaluation.metrics import dice
from lexor.inference.engine import Engine
from lexor.protocol.clicks import next_click
from lexor.serving.limits import Limits
from lexor.viewing.demo import CASES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nnInteractive.inference.remote import (
        ServerAtCapacityError,
        SessionExpiredError,
        nnInteractiveRemoteInferenceSession,
    )

# A client that was refused leaves its socket to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Client = nnInteractiveRemoteInferenceSession
SPACING = [2.0, 1.0, 1.0]


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with closing(Client(running.url)) as connected:
        yield connected


@pytest.fixture
def direct(bright: Engine) -> Session:
    """A session on the same volume, asked without a server."""
    return opened(bright)


def opened(engine: Engine, seed: int = 0) -> Session:
    session = Session(engine=engine)
    session.set_volume(scene(seed), (2.0, 1.0, 1.0))
    return session


def ready(client: Client, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """The client's buffer, after it has sent the image."""
    client.set_image(scene(seed)[None], {"spacing": SPACING})
    buffer = np.zeros(SHAPE, dtype)
    client.set_target_buffer(buffer)
    return buffer


def test_the_client_learns_what_it_may_ask(client: Client, running: Running) -> None:
    assert client.supported_interactions == {
        "points": True,
        "bbox2d": True,
        "bbox3d": True,
        "scribble": True,
        "lasso": True,
    }
    assert client.supports_initial_label
    assert client.supports_undo
    assert client.supports_zero_shot_label_refinement
    assert client.do_autozoom
    assert client.license == "CC0-1.0"
    assert client.INFERENCE_SESSION_VERSION.startswith("Lexor ")
    assert [client.preferred_scribble_thickness[axis] for axis in range(3)] == [2, 2, 2]
    assert client.idle_timeout_seconds == running.service.limits.idle_seconds
    assert client.liveness_timeout_seconds == 60
    assert client.ping()
    assert 0 < client.heartbeat() <= client.idle_timeout_seconds
    assert client.lease_status()["idle_timeout_seconds"] == client.idle_timeout_seconds


def test_the_image_s_shape_comes_back(client: Client) -> None:
    client.set_image(scene()[None].astype(np.int16) - 60, {"spacing": np.array(SPACING)})
    assert client.original_image_shape == (1, *SHAPE)
    client.set_image(np.zeros((1, 1, 7, 9), np.float32))
    assert client.original_image_shape == (1, 1, 7, 9)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.bool_])
def test_clicks_are_answered_as_a_session_answers(client: Client, direct: Session, dtype: type) -> None:
    buffer = ready(client, dtype)
    box = client.add_point_interaction([12, 14, 14], include_interaction=True)
    mask = direct.click((12, 14, 14))
    assert mask.any()
    np.testing.assert_array_equal(buffer, mask)
    assert box == [[int(e.min()), int(e.max()) + 1] for e in np.nonzero(mask)]
    before = buffer.copy()
    box = client.add_point_interaction((11.6, 13.7, 20.4), include_interaction=False)
    mask = direct.click((12, 14, 20), positive=False)
    np.testing.assert_array_equal(buffer, mask)
    changed = np.nonzero(before != buffer)
    assert box == [[int(e.min()), int(e.max()) + 1] for e in changed]


def test_boxes_flat_and_whole_are_answered_as_a_session_answers(client: Client, direct: Session) -> None:
    buffer = ready(client)
    client.add_bbox_interaction([[6, 19], [6, 23], [6, 23]], include_interaction=True)
    np.testing.assert_array_equal(buffer, direct.box((6, 6, 6), (19, 23, 23)))
    client.reset_interactions()
    assert not buffer.any()
    direct.clear()
    # napari's plugin sends coordinates as they were drawn, and one slice as an interval of length 1.
    client.add_bbox_interaction([[12.0, 13.0], [5.6, 22.3], [5.9, 22.0]], include_interaction=True)
    np.testing.assert_array_equal(buffer, direct.box((12, 6, 6), (13, 23, 22)))
    # A second one, on another plane, tells how long the object is.
    client.add_bbox_interaction([[6, 19], [6, 23], [14, 15]], include_interaction=True)
    np.testing.assert_array_equal(buffer, direct.box((6, 6, 14), (19, 23, 15), join=True))
    assert direct.case().boxes[0].lower == (6, 6, 6)  # type: ignore[union-attr]
    assert direct.case().boxes[0].upper == (19, 23, 22)  # type: ignore[union-attr]
    # A box that the object is not in.
    client.add_bbox_interaction([[6, 19], [6, 14], [6, 23]], include_interaction=False)
    region = np.zeros(SHAPE, bool)
    region[6:19, 6:14, 6:23] = True
    np.testing.assert_array_equal(buffer, direct.lasso(region, positive=False))
    assert not buffer[region].any()
    assert buffer.any()


def test_scribbles_and_lassos_are_answered_as_a_session_answers(client: Client, direct: Session) -> None:
    buffer = ready(client)
    whole = np.zeros(SHAPE, np.uint8)
    whole[12, 10:18, 14] = 1
    client.add_scribble_interaction(whole, include_interaction=True)
    np.testing.assert_array_equal(buffer, direct.scribble(whole))
    assert buffer[whole > 0].all()
    # As napari and Slicer send them: what is marked, and where that is.
    crop = np.ones((1, 4, 5), np.uint8)
    client.add_lasso_interaction(
        crop, include_interaction=False, interaction_bbox=[[12, 13], [14, 18], [16, 21]]
    )
    region = np.zeros(SHAPE, bool)
    region[12:13, 14:18, 16:21] = True
    np.testing.assert_array_equal(buffer, direct.lasso(region, positive=False))
    assert not buffer[region].any()


def test_a_first_lasso_also_tells_the_size(client: Client, direct: Session) -> None:
    buffer = ready(client)
    disc = (np.indices((17, 17)) - 8) ** 2
    crop = (disc.sum(0) <= 64)[None].astype(np.uint8)
    client.add_lasso_interaction(crop, True, interaction_bbox=[[12, 13], [6, 23], [6, 23]])
    region = np.zeros(SHAPE, bool)
    region[12:13, 6:23, 6:23] = crop
    np.testing.assert_array_equal(buffer, direct.lasso(region))
    assert buffer[9].any()


def test_what_is_added_without_a_prediction_waits_for_one(client: Client, direct: Session) -> None:
    buffer = ready(client)
    assert client._predict() is None
    assert client.add_point_interaction([12, 14, 14], True, run_prediction=False) is None
    assert client.add_point_interaction([12, 34, 28], True, run_prediction=False) is None
    assert client.add_bbox_interaction([[5, 20], [5, 42], [5, 36]], True, run_prediction=False) is None
    assert not buffer.any()
    assert client._predict() is not None
    for point in [(12, 14, 14), (12, 34, 28)]:
        direct.click(point, later=True)
    direct.box((5, 5, 5), (20, 42, 36), later=True)
    assert not direct.mask().any()
    mask = direct.answer()
    assert mask[12, 14, 14]
    assert mask[12, 34, 28]
    np.testing.assert_array_equal(buffer, mask)
    assert client._predict() is None
    # What was answered together is undone with the last prompt; those before it still wait.
    assert client.undo()
    assert not buffer.any()
    assert client._predict() is not None
    direct.undo()
    np.testing.assert_array_equal(buffer, direct.answer())
    # What is answered at once answers what waits, too, but is a step of its own.
    client.reset_interactions()
    client.add_point_interaction([12, 14, 14], True, run_prediction=False)
    client.add_point_interaction([12, 34, 28], True)
    assert buffer[12, 14, 14]
    assert buffer[12, 34, 28]
    assert client.undo()
    assert not buffer.any()
    client._predict()
    assert buffer[12, 14, 14]


def test_undo_takes_back_prompt_by_prompt(client: Client) -> None:
    buffer = ready(client)
    assert not client.undo()
    states = [buffer.copy()]
    client.add_bbox_interaction([[6, 19], [6, 23], [6, 23]], True)
    states.append(buffer.copy())
    client.add_point_interaction([12, 14, 14], False)
    states.append(buffer.copy())
    client.add_scribble_interaction(
        np.ones((1, 1, 4), np.uint8), True, interaction_bbox=[[3, 4], [3, 4], [3, 7]]
    )
    assert len({state.tobytes() for state in [*states, buffer]}) == 4
    while states:
        assert client.undo()
        np.testing.assert_array_equal(buffer, states.pop())
    assert not client.undo()


def test_a_mask_can_be_set_and_refined(client: Client, direct: Session) -> None:
    buffer = ready(client)
    rough = np.zeros(SHAPE, np.uint8)
    rough[8:17, 8:21, 8:21] = 1
    assert client.add_initial_seg_interaction(rough) is None
    np.testing.assert_array_equal(buffer, rough)
    assert client._predict() is None
    direct.previous(rough, alone=True)
    client.add_point_interaction([12, 14, 22], True)
    np.testing.assert_array_equal(buffer, direct.click((12, 14, 22)))
    assert client.undo()
    np.testing.assert_array_equal(buffer, rough)
    assert client._predict(force_full_refine=True) is not None
    direct.undo()
    np.testing.assert_array_equal(buffer, direct.previous(rough, refine=True))
    refined = direct.mask().copy()
    # The same in one request. What was said before is forgotten, and one undo takes all of it back.
    client.add_point_interaction([3, 3, 3], True)
    before = buffer.copy()
    client.add_initial_seg_interaction(rough, run_prediction=True)
    np.testing.assert_array_equal(buffer, refined)
    assert not buffer[3, 3, 3]
    assert client.undo()
    np.testing.assert_array_equal(buffer, before)


def test_the_next_object_begins_with_nothing(client: Client, direct: Session) -> None:
    buffer = ready(client)
    client.add_point_interaction([12, 14, 14], True)
    client.reset_interactions()
    assert not buffer.any()
    assert not client.undo()
    client.add_point_interaction([12, 34, 28], True)
    np.testing.assert_array_equal(buffer, direct.click((12, 34, 28)))


def test_a_new_buffer_and_a_new_image_begin_empty(client: Client, direct: Session) -> None:
    ready(client)
    client.add_point_interaction([12, 14, 14], True)
    again = np.zeros(SHAPE, np.uint8)
    client.set_target_buffer(again)
    client.add_point_interaction([12, 14, 15], True)
    direct.click((12, 14, 14))
    np.testing.assert_array_equal(again, direct.click((12, 14, 15)))
    buffer = ready(client, seed=1)
    assert not client.undo()
    client.add_point_interaction([12, 14, 14], True)
    assert buffer.any()


def test_autozoom_can_be_switched(client: Client) -> None:
    buffer = ready(client)
    client.set_do_autozoom(False)
    assert not client.do_autozoom
    client.add_point_interaction([12, 14, 14], True)
    assert buffer[12, 14, 14]
    client.set_do_autozoom(True)


def test_torch_buffers_are_filled(client: Client, direct: Session) -> None:
    import torch

    client.set_image(scene()[None], {"spacing": SPACING})
    buffer = torch.zeros(SHAPE, dtype=torch.uint8)
    client.set_target_buffer(buffer)
    client.add_point_interaction([12, 14, 14], True)
    np.testing.assert_array_equal(buffer.numpy(), direct.click((12, 14, 14)))


def test_loading_a_model_is_left_to_the_server(client: Client) -> None:
    with pytest.warns(RuntimeWarning, match="loaded its checkpoint at startup"):
        client.initialize_from_trained_model_folder("anything")


def test_a_flat_picture_is_a_volume_of_one_slice(client: Client) -> None:
    client.set_image(scene()[12][None, None], {"spacing": [1.0, 1.0]})
    buffer = np.zeros((1, *SHAPE[1:]), np.uint8)
    client.set_target_buffer(buffer)
    client.add_bbox_interaction([[0, 1], [6, 23], [6, 23]], True)
    assert buffer[0, 14, 14]


def test_four_work_side_by_side_and_a_fifth_waits(bright: Engine) -> None:
    with served(bright, Limits(sessions=4)) as running:
        clients = [Client(running.url) for _ in range(4)]
        with pytest.raises(ServerAtCapacityError, match="all 4 sessions are in use"):
            Client(running.url)
        full = httpx.post(running.url + "/claim", trust_env=False)
        assert (full.status_code, full.headers["Retry-After"]) == (503, "10")

        def work(seed: int) -> np.ndarray:
            buffer = ready(clients[seed], seed=seed)
            for point, positive in [([12, 14, 14], True), ([12, 34, 28], True), ([12, 14, 20 + seed], False)]:
                clients[seed].add_point_interaction(point, positive)
            return buffer

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(work, range(4)))
        for seed, buffer in enumerate(found):
            session = opened(bright, seed)
            session.click((12, 14, 14))
            session.click((12, 34, 28))
            np.testing.assert_array_equal(buffer, session.click((12, 14, 20 + seed), positive=False))
        assert len({buffer.tobytes() for buffer in found}) == 4
        clients[0].close()
        with closing(Client(running.url)):
            assert len(running.service.leases) == 4
        for other in clients:
            other.close()
        assert len(running.service.leases) == 0


def test_a_session_ends_when_idle_or_silent(bright: Engine) -> None:
    with served(bright, Limits(idle_seconds=0.8)) as running, closing(Client(running.url)) as client:
        ready(client)
        time.sleep(0.5)
        assert client.heartbeat() < 0.5
        client.set_do_autozoom(True)
        assert client.heartbeat() > 0.5
        time.sleep(1)
        with pytest.raises(SessionExpiredError, match="connect again"):
            client.add_point_interaction([12, 14, 14], True)
        with pytest.raises(SessionExpiredError):
            client.lease_status()
    with served(bright, Limits(liveness_seconds=0.4)) as running:
        # Its heartbeats come every five seconds at most.
        with closing(Client(running.url)) as client:
            time.sleep(0.6)
            with pytest.raises(SessionExpiredError):
                client.heartbeat()
        assert any("fell silent" in line for line in running.told)


def test_a_server_that_was_started_again_knows_no_session(bright: Engine) -> None:
    first = start(bright)
    with closing(Client(first.url)) as client:
        buffer = ready(client)
        client.add_point_interaction([12, 14, 14], True)
        kept = buffer.copy()
        first.stop()
        with pytest.raises(httpx.TransportError):
            client.heartbeat()
        assert not client.ping()
        second = start(bright, port=int(first.url.rpartition(":")[2]))
        try:
            with pytest.raises(SessionExpiredError):
                client.add_point_interaction([12, 14, 14], True)
            # As the plug-ins go on: a new session, with the mask so far.
            with closing(Client(second.url)) as again:
                buffer = ready(again)
                again.add_initial_seg_interaction(kept)
                again.add_point_interaction([12, 14, 22], True)
                assert buffer[12, 14, 22]
                assert (buffer[kept > 0]).mean() > 0.9
        finally:
            second.stop()


def test_a_closed_session_s_volume_is_gone(running: Running, bright: Engine) -> None:
    import gc
    import weakref

    client = Client(running.url)
    ready(client)
    [lease] = running.service.leases._held.values()
    session = weakref.ref(lease.state.session)
    del lease
    client.close()
    until(lambda: gc.collect() >= 0 and session() is None, 5)


def test_long_work_is_told_and_others_are_answered_meanwhile(bright: Engine) -> None:
    with served(bright) as running, closing(Client(running.url)) as client:
        ready(client)
        engine_answers = running.service.engine.answers

        class Slow(Engine):
            def __init__(self) -> None:
                self.__dict__.update(bright.__dict__)

            def answers(self, *args: object) -> object:  # type: ignore[override]
                time.sleep(1.5)
                return engine_answers(*args)  # type: ignore[arg-type]

        [lease] = running.service.leases._held.values()
        lease.state.session.engine = Slow()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.add_point_interaction, [12, 14, 14], True)
            until(lambda: client.lease_status()["working_on"] is not None)
            assert client.lease_status()["working_on"]["what"] == "a click"
            with closing(Client(running.url)) as other:
                began = time.monotonic()
                ready(other)
                assert other.heartbeat() > 0
                assert not answer.done()
                assert time.monotonic() - began < 1.4
            assert answer.result() is not None
        assert client.lease_status()["working_on"] is None
        assert any(line.endswith("a click ...") for line in running.told)


def test_a_client_needs_the_token(bright: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(bright, token="a long secret") as running:
        for wrong in (None, "another secret"):
            with pytest.raises(httpx.HTTPStatusError, match="401"):
                Client(running.url, api_key=wrong)
        with closing(Client(running.url, api_key="a long secret")) as client:
            assert client.ping()
            ready(client)
            assert client.add_point_interaction([12, 14, 14], True)
        monkeypatch.setenv("NN_INTERACTIVE_API_KEY", "a long secret")
        with closing(Client(running.url)) as client:
            assert client.heartbeat() > 0


@pytest.mark.slow
def test_the_bundled_model_segments_a_real_tumour_through_the_client() -> None:
    engine = Engine(device="cpu")
    with np.load(CASES / "CT_sarcoma.npz", allow_pickle=False) as case:
        volume, spacing, truth = case["imgs"], case["spacing"], case["gts"] == 1
    session = Session(engine=engine)
    session.set_volume(volume, tuple(spacing))
    with served(engine) as running, closing(Client(running.url)) as client:
        client.set_image(volume[None], {"spacing": spacing})
        buffer = np.zeros(volume.shape, np.uint8)
        client.set_target_buffer(buffer)
        # Around the tumour on one slice, as somebody draws it in napari.
        client.add_bbox_interaction([[24, 25], [31, 114], [31, 118]], True)
        mask = session.box((24, 31, 31), (25, 114, 118)).copy()
        np.testing.assert_array_equal(buffer, mask)
        assert dice(mask, truth) > 0.7
        click = next_click(mask, truth)
        assert click is not None
        client.add_point_interaction(click[0], click[1])
        np.testing.assert_array_equal(buffer, session.click(*click))
        assert client.undo()
        np.testing.assert_array_equal(buffer, mask)
