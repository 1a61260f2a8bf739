"""A server of others: the Open Inference Protocol, spoken by a small server of tritonclient's own stubs."""

import contextlib
import functools
import json
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
import zmq
from grey_pictures import CLASSES, SIDE, live, network, picture, small
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import triton_to_np_dtype
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import live as commands
from hi_book.commands.main import app
from hi_book.makers import networks
from hi_book.served import infer
from hi_book.served.infer import Gateway, Model, Wanted
from hi_book.served.real import RealSmall
from hi_live.device import Device, Plan
from hi_live.link import Link
from hi_live.report import report


def one_hot(pixels):
    """Probabilities of grey pictures with values from 0 to 1, channels first."""
    labels = np.rint((255 * pixels.mean(axis=(1, 2, 3)) - 30) / 60).astype(int)
    return np.eye(CLASSES, dtype=np.float32)[np.clip(labels, 0, CLASSES - 1)]


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """One model, "grey"; faults of later requests by a schedule."""

    def __init__(self, shape=(-1, 3, SIDE, SIDE), datatype="FP32", answer=one_hot, typed=False, schedule=()):
        self.shape, self.datatype, self.answer, self.typed = shape, datatype, answer, typed
        self.schedule, self.asked, self.inputs, self.lateness = list(schedule), [], 1, 0.3

    def ServerLive(self, request, context):  # noqa: ARG002, N802
        return service_pb2.ServerLiveResponse(live=True)

    def ModelMetadata(self, request, context):  # noqa: N802
        if request.name != "grey":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name}")
        tensor = service_pb2.ModelMetadataResponse.TensorMetadata
        inputs = [tensor(name=f"in{k}", datatype=self.datatype, shape=self.shape) for k in range(self.inputs)]
        return service_pb2.ModelMetadataResponse(name="grey", inputs=inputs, outputs=[tensor(name="out")])

    def ModelInfer(self, request, context):  # noqa: N802
        source = request.inputs[0]
        kind = triton_to_np_dtype(source.datatype)
        self.asked.append(np.frombuffer(request.raw_input_contents[0], kind).reshape(source.shape))
        # Black pictures are tried before the run.
        fault = self.schedule.pop(0) if self.schedule and self.asked[-1].any() else "fine"
        if fault == "error":
            context.abort(grpc.StatusCode.INTERNAL, "out of memory")
        if fault == "late":
            time.sleep(self.lateness)
        answer = self.answer(self.asked[-1])[: None if fault != "too few" else -1]
        response = service_pb2.ModelInferResponse(model_name="grey")
        output = response.outputs.add(name="out", shape=answer.shape)
        output.datatype = {"f": "FP32", "i": "INT64", "u": "UINT64"}[answer.dtype.kind]
        if self.typed:
            contents = output.contents.fp32_contents if answer.dtype.kind == "f" else output.contents.int64_contents
            contents.extend(answer.ravel().tolist())
        else:
            response.raw_output_contents.append(answer.tobytes())
        return response


@contextlib.contextmanager
def serving(servicer):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}/grey"
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(("batch_size", "window"), [(1, None), (4, None), (2, 3)])
def test_a_foreign_server_answers_each_batch_once(batch_size, window):
    servicer = Servicer()
    with serving(servicer) as address:
        log, gateway, delays = live(address, Plan(batch_size, window))
    assert not log.lost.any()
    assert (gateway.failed, log.stray) == (0, 0)
    assert log.offloaded.any()
    assert (log.lml_right[log.offloaded] == 1).all()
    tries = 1 + (batch_size > 1)  # one black picture before the run, and as many as a batch may send
    black, asked = servicer.asked[:tries], servicer.asked[tries:]
    assert [one.shape for one in black] == [(size, 3, SIDE, SIDE) for size in (1, batch_size)[:tries]]
    assert max(one.max() for one in black) == 0
    assert len(asked) == len(log.transmissions) == len(delays)
    assert sorted(map(len, asked)) == sorted(one.offloads for one in log.transmissions)
    for one in log.transmissions:
        assert 0 <= one.computing <= one.resident <= one.round_trip


def test_the_emulated_link_stays_in_front_of_it_and_the_report_is_made():
    with serving(Servicer()) as address:
        plan = Plan(4)
        log, _, delays = live(address, plan, network_time=lambda: 10.0, rate=8e6)
    assert all(one.round_trip >= 10 for one in log.transmissions)
    assert all(delays[one.number].uplink > 0 for one in log.transmissions)
    found = report(log, delays, hi.Trace(log.confidence, small().correct(np.arange(60))), 0.3, plan)
    assert found.stages.timing.tau_nw >= 10


def classes(pixels):
    return one_hot(pixels).argmax(axis=1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda pixels: one_hot(pixels) * 9 - 4,  # logits
        classes,
        lambda pixels: classes(pixels)[:, None],
        lambda pixels: one_hot(pixels)[:, :, None, None],
    ],
    ids=["logits", "classes", "a column of classes", "a picture of scores"],
)
@pytest.mark.parametrize("typed", [False, True])
def test_scores_and_classes_are_understood_as_bytes_and_as_numbers(answer, typed):
    with serving(Servicer(answer=answer, typed=typed)) as address:
        log, _, _ = live(address, Plan(3), samples=20)
    assert (log.lml_right[log.offloaded] == 1).all()


@pytest.mark.parametrize(
    ("wanted", "datatype", "shape", "expected"),
    [
        (Wanted(), "FP32", (-1, 3, SIDE, SIDE), 90 / 255),
        (Wanted("signed"), "FP32", (-1, SIDE, SIDE, 3), 90 / 127.5 - 1),
        (Wanted("bytes"), "FP16", (-1, SIDE, SIDE, 3), 90),
        (
            Wanted("imagenet"),
            "FP32",
            (-1, SIDE, SIDE, 3),
            (90 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225],
        ),
        (Wanted(side=5), "UINT8", (-1, 3, -1, -1), 90),
        (Wanted(), "UINT8", (4, SIDE, SIDE, 3), 90),
    ],
)
def test_pictures_come_as_the_model_wants_them(wanted, datatype, shape, expected):
    servicer = Servicer(shape, datatype, answer=lambda pixels: np.zeros(len(pixels), np.int64))
    heard = []
    with serving(servicer) as address:
        model = Model(address, wanted, 2, 5000)
        model.ask(model.tensor([model.pixels(picture(1))] * 2), lambda result, error: heard.append((result, error)))
        deadline = time.monotonic() + 10
        while not heard and time.monotonic() < deadline:
            time.sleep(0.01)
        model.close()
    (result, error) = heard[0]
    assert error is None
    assert model.classes(result.get_response(), 2) == (0, 0)
    asked = servicer.asked[-1]
    side = wanted.side or SIDE
    rows = max(shape[0], 2)
    assert asked.shape == ((rows, 3, side, side) if shape[1] == 3 else (rows, side, side, 3))
    assert asked[:2] == pytest.approx(np.broadcast_to(expected, asked[:2].shape), rel=1e-3, abs=1e-4)
    assert len(set(asked[2:].ravel())) <= 1  # black ones fill it up


def test_the_models_first_class_may_be_another():
    with serving(Servicer(answer=lambda pixels: np.insert(one_hot(pixels), 0, 0, axis=1))) as address:
        log, _, _ = live(address, Plan(3), Wanted(first_class=-1), samples=20)
    assert (log.lml_right[log.offloaded] == 1).all()


def test_an_answer_that_fails_is_no_answer():
    for slower in (1, 10):  # a busy machine may be late by itself
        servicer = Servicer(schedule=["error", "fine", "late", "too few", "fine"])
        servicer.lateness *= slower
        with serving(servicer) as address:
            log, gateway, _ = live(address, Plan(2, timeout=100.0 * slower))
        if sum(one.lost for one in log.transmissions) <= 3:
            break
    assert 1 <= sum(one.lost for one in log.transmissions) <= 3
    assert (np.isfinite(log.lml_right) == (log.offloaded & ~log.lost)).all()
    assert (log.answered >= log.started).all()
    assert gateway.failed >= 1
    assert gateway.last_failure


def test_a_server_that_goes_away_costs_answers_and_no_more():
    context = zmq.Context()
    with serving(Servicer()) as address:
        model = Model(address, Wanted(), 4, 60.0)
    gateway = Gateway(context, model)
    link = Link(context, gateway.address)
    gateway.start()
    link.start()
    log = Device(small(24), hi.HILF(0.3, 0.2, seed=0, levels=64), link, Plan(4, timeout=60.0)).run(24)
    link.close()
    gateway.close()
    context.term()
    assert (log.lost == log.offloaded).all()
    assert gateway.failed >= 1


@pytest.mark.parametrize(
    ("servicer", "wanted", "says"),
    [
        (Servicer((-1, 3, SIDE)), Wanted(), r"it must take UINT8, FP16, FP32 of shape"),
        (Servicer((-1, 1, SIDE, SIDE)), Wanted(), "it must take"),
        (Servicer(datatype="INT64"), Wanted(), "takes INT64"),
        (Servicer((-1, 3, -1, -1)), Wanted(), "say it with --lml-side"),
        (Servicer((-1, 3, SIDE, 9)), Wanted(), "both must be equal"),
        (Servicer(), Wanted(side=9), "leave --lml-side out"),
        (Servicer((2, 3, SIDE, SIDE)), Wanted(), "no larger --batch-size"),
        (Servicer(answer=lambda pixels: pixels.mean(axis=(1, 2, 3))), Wanted(), "neither classes nor their scores"),
        (Servicer(answer=lambda pixels: one_hot(pixels)[0]), Wanted(), "answers with shape"),
        (Servicer(answer=lambda pixels: one_hot(pixels) * np.nan), Wanted(), "a score that is no number"),
        (Servicer(answer=lambda pixels: np.full(len(pixels), 2**63, np.uint64)), Wanted(), "a class of 9223372"),
    ],
)
def test_a_model_that_does_not_fit_is_one_clear_error_before_the_run(servicer, wanted, says):
    with serving(servicer) as address, pytest.raises(ValueError, match=says):
        Model(address, wanted, 4, 1000.0)


def one_at_a_time(pixels):
    """As a model that was built for one picture, whatever its server says of it."""
    if len(pixels) > 1:
        raise ValueError("Got: 4 Expected: 1")
    return one_hot(pixels)


def test_a_server_that_takes_one_picture_is_known_before_the_run():
    with serving(Servicer(answer=one_at_a_time)) as address:
        says = r"answers for one picture, but not for 4 at once: choose a smaller --batch-size \(.*Expected: 1\)"
        with pytest.raises(ValueError, match=says):
            Model(address, Wanted(), 4, 1000.0)
        log, gateway, _ = live(address, Plan(1), samples=20)
    assert not log.lost.any()
    assert gateway.failed == 0


def test_an_error_is_an_answer_that_is_lost_at_once():
    """With a timeout of a minute: each request fails by itself, and all are tried."""
    begun = time.monotonic()
    with serving(Servicer(schedule=["error"] * 1000)) as address:
        log, gateway, _ = live(address, Plan(2, timeout=60_000.0))
    assert time.monotonic() - begun < 30
    assert (log.lost == log.offloaded).all()
    assert (log.sent == log.offloaded).all()
    assert gateway.failed == len(log.transmissions) > 5


def test_a_picture_that_cannot_be_read_leaves_the_others_their_answers(monkeypatch):
    def files(self, sample):
        return b"no picture" if sample % 5 == 0 else self._files[sample]

    monkeypatch.setattr(RealSmall, "image", files)
    with serving(Servicer()) as address:
        log, gateway, _ = live(address, Plan(4))
    unreadable = np.arange(60) % 5 == 0
    assert (log.lost == (log.offloaded & unreadable)).all()
    assert (log.lml_right[log.offloaded & ~unreadable] == 1).all()
    assert gateway.failed > 0
    assert "not a readable image" in gateway.last_failure


def test_two_inputs_an_unknown_model_and_no_server_are_refused():
    servicer = Servicer()
    with serving(servicer) as address:
        with pytest.raises(ValueError, match="does not answer: no model blue"):
            Model(address.replace("grey", "blue"), Wanted(), 4, 1000.0)
        servicer.inputs = 2
        with pytest.raises(ValueError, match="takes 2 inputs"):
            Model(address, Wanted(), 4, 1000.0)
    with pytest.raises(ValueError, match="does not answer"):
        Model("grpc://127.0.0.1:1/grey", Wanted(), 4, 1000.0)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("grpc://127.0.0.1:8001", "must be grpc://HOST:PORT/MODEL"),
        ("grpc://127.0.0.1/grey", "must be grpc://HOST:PORT/MODEL"),
        ("grpc://127.0.0.1:port/grey", "must be grpc://HOST:PORT/MODEL"),
        ("grpc://10.0.0.7:8001/grey", "encrypts nothing"),
    ],
)
def test_addresses_that_are_none_and_other_machines_are_refused(address, says):
    with pytest.raises(ValueError, match=says):
        infer.checked_address(address)
    assert infer.checked_address("grpc://10.0.0.7:8001/grey", insecure=True)


def device(*options):
    return CliRunner().invoke(app, ["live", "device", "--samples", "40", *map(str, options)])


@pytest.fixture
def own(monkeypatch, tmp_path):
    """Options of an S-ML of one's own and its pictures, with no runtime for the model."""
    monkeypatch.setattr(commands, "_needs_models", lambda own: None)  # noqa: ARG005
    monkeypatch.setattr(networks, "read", network)
    for label in range(CLASSES):
        (tmp_path / f"class {label}").mkdir()
        for number in range(12):
            (tmp_path / f"class {label}" / f"{number}.png").write_bytes(picture(label))
    return "--onnx", "mine.onnx", "--images", tmp_path


def test_the_command_asks_a_foreign_server(own):
    with serving(Servicer(schedule=["fine", "fine", "error"])) as address:
        done = device("--server", address, *own, "--json", "--timeout", 5000, "--network-time", 2)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lost"] >= 1
    assert found["measured"]["transmissions"] >= 2
    assert "1 requests failed; the last one: out of memory" in done.stderr


def test_what_grpc_cannot_do_is_refused_in_one_line(own, tmp_path):
    for options, says in (
        ([], "a trace has none: give --sml"),
        ([*own, "--keys", tmp_path], "encrypts nothing"),
        ([*own, "--lml-scaling", "percent"], "--lml-scaling must be one of"),
        ([*own, "--lml-side", "0"], "--lml-side must be"),
    ):
        refused = device("--server", "grpc://127.0.0.1:1/grey", *options)
        assert refused.exit_code == 2
        assert says in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_model_of_ones_own_needs_its_pictures_and_must_know_their_classes(own, monkeypatch):
    for options in (own[:2], own[2:], [*own, "--sml", "cifar10-resnet8"]):
        assert "--onnx and --images must be given together" in device(*options).stderr
    monkeypatch.setattr(networks, "read", functools.partial(network, says=lambda pictures: np.ones((len(pictures), 3))))
    assert "tells 3 classes apart, but there are 4 folders" in device(*own).stderr
