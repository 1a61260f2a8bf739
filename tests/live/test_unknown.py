"""Answers that are unknown: pictures that cannot be read, L-MLs that fail, and what server and device make of them."""

import io
import logging
import threading
import time

import numpy as np
import pytest
import zmq
from bad_pictures import EPS, fuzz, in_all_formats
from grey_pictures import SIDE, picture, unsure
from PIL import EpsImagePlugin, Image
from wire_peers import answer, ask, asking, serving, started

import hi_lib as hi
from hi_book.makers import images
from hi_book.served import real
from hi_live import server, wire
from hi_live.device import Device, Plan
from hi_live.link import Link
from hi_live.replayed import ReplayedLarge, ReplayedSmall
from hi_live.report import report
from hi_live.wire import Reply

TRACE = hi.synthetic_trace(400, seed=3)


def test_a_server_answers_whatever_pictures_it_is_sent(caplog):
    answered, unknown = fuzz(400, seed=1)
    assert answered > 20
    assert unknown > 100
    lines = [record.getMessage() for record in caplog.records if record.name == "hi_live.server"]
    assert len(lines) <= 400 / 20  # a line a request at most
    assert all("\n" not in line for line in lines)


def test_seven_formats_are_read_and_no_other(monkeypatch):
    ran = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: ran.append("Ghostscript"))
    read, refused = [], []
    for name, data in in_all_formats().items():
        try:
            assert images.resized("x.png", data, (4, 4, 3)).shape == (4, 4, 3)
            read.append(name)
        except ValueError:
            refused.append(name)
    assert set(read) - {"DIB", "MPO"} == set(images.FORMATS)  # a BMP without its head is none, an MPO is a JPEG
    assert {"EPS", "TGA", "ICO", "DDS", "SPIDER"} <= set(refused)
    says = r"x\.png is not a readable image: it must be BMP, GIF, JPEG, PNG, PPM, TIFF or WebP"
    with pytest.raises(ValueError, match=says):
        images.preprocess("x.png", EPS, 4)
    assert ran == []


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, AttributeError, MemoryError, RecursionError])
def test_whatever_a_decoder_raises_is_an_unreadable_picture(monkeypatch, error):
    def fails(*_, **__):
        raise error("something")

    monkeypatch.setattr(Image.Image, "convert", fails)
    with pytest.raises(ValueError, match=r"x\.png is not a readable image: something"):
        images.resized("x.png", picture(0), (4, 4, 3))


def test_a_picture_over_the_wire_has_so_many_pixels_and_no_more(monkeypatch):
    file = io.BytesIO()
    Image.new("1", (40, 50)).save(file, "PNG")
    classes = real.Classes(unsure, SIDE)
    monkeypatch.setattr(real, "MOST_PIXELS", 2000)
    assert real.RealLarge(classes).answers([0], [file.getvalue()]) == [0]
    monkeypatch.setattr(real, "MOST_PIXELS", 1999)
    with pytest.raises(ValueError, match="40 x 50 pixels, more than 1,999"):
        real.RealLarge(classes).answers([0], [file.getvalue()])


class Choosy:
    """An L-ML that fails whenever it is shown one of some pictures."""

    def __init__(self, bad, error=RuntimeError, wrong=None):
        self.bad, self.error, self.wrong, self.calls = set(bad), error, wrong, 0

    def answers(self, samples, _images):
        self.calls += 1
        if self.bad & set(samples):
            if self.wrong is None:
                raise self.error("a\nlong\nstory")
            return self.wrong
        return [np.int64(sample + 1) for sample in samples]


@pytest.mark.parametrize("bad", [{3}, {0, 7}, set(range(8)), {0, 1, 2, 3}])
@pytest.mark.parametrize("error", [RuntimeError, KeyError, AssertionError, RecursionError, zmq.ZMQError])
def test_an_l_ml_that_fails_has_no_answer_to_what_it_fails_on_alone(bad, error, caplog):
    large = Choosy(bad, error)
    with serving(large) as (address, ended), asking(address) as (one,):
        ask(one, range(8), [b"x"] * 8)
        assert answer(one).answers == tuple(None if sample in bad else sample + 1 for sample in range(8))
        ask(one, [9], [b"x"])
        assert answer(one).answers == (10,)
    assert ended[0].requests == 2
    assert large.calls <= 16  # halves of halves
    (line,) = caplog.messages
    assert line.startswith(f"request 0 of run test: {len(bad)} of 8 pictures have no answer: {error.__name__}: ")
    assert "\n" not in line
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize("wrong", [[], [1] * 9, [2**53] * 8, ["cat"] * 8, [1.5] * 8, 7])
def test_what_is_no_answer_is_unknown(wrong):
    answers, problem = server.answered(Choosy({3}, wrong=wrong), list(range(8)), [b"x"] * 8)
    assert answers == [1, 2, 3, None, 5, 6, 7, 8]
    assert problem


def test_an_l_ml_may_say_itself_that_it_does_not_know():
    assert server.answered(Choosy({3}, wrong=[None, 5]), [3, 4], [b"x"] * 2) == ([None, 5], "the L-ML gave none")


def test_an_unknown_answer_is_lost_at_once():
    """The local answer is final, nothing is learned of the batch, and the device waits for nothing."""
    bad = set(range(0, 400, 5))
    heard, forgotten = [], []

    class Told(hi.HILF):
        def hear(self, ticket, correct):
            heard.append(ticket.number)
            super().hear(ticket, correct)

        def forget(self, ticket):
            forgotten.append(ticket.number)
            super().forget(ticket)

    learner = Told(0.2, 0.1, seed=0, levels=64)
    with serving(Choosy(bad)) as (address, _):
        context = zmq.Context()
        link = Link(context, address)
        link.start()
        begun = time.monotonic()
        log = Device(ReplayedSmall(TRACE, 0.0, 10), learner, link, Plan(4, timeout=60_000.0)).run(100)
        link.close()
        context.term()
    assert time.monotonic() - begun < 30
    unknown = np.isin(np.arange(100), list(bad)) & log.offloaded
    assert unknown.any()
    assert (log.lost == unknown).all()
    assert (np.isfinite(log.lml_right) == (log.offloaded & ~unknown)).all()
    assert log.sent.sum() == log.offloaded.sum()
    batches = unknown.reshape(-1, 4).any(axis=1)
    assert forgotten == np.flatnonzero(batches).tolist()
    assert heard == np.flatnonzero(~batches).tolist()
    assert learner.outstanding == []
    for one in log.transmissions:
        of_batch = slice(4 * one.number, 4 * one.number + 4)
        assert one.lost == (unknown[of_batch].sum() == log.offloaded[of_batch].sum())


class NeverRight(ReplayedSmall):
    """An S-ML that is always wrong."""

    def correct(self, samples):
        return np.zeros(len(samples), bool)


def costs(address, plan, samples=60):
    context = zmq.Context()
    link = Link(context, address)
    link.start()
    small = NeverRight(TRACE, 0.0, 10)
    log = Device(small, hi.HILF(0.5, 0.1, seed=0, levels=64), link, plan).run(samples)
    link.close()
    context.term()
    wrong = hi.Trace(TRACE.confidence[:samples], np.zeros(samples))
    return log, report(log, link.delays, wrong, 0.5, plan).measured


def test_a_dead_server_beside_an_s_ml_that_is_always_wrong_costs_at_least_one():
    log, measured = costs("tcp://127.0.0.1:1", Plan(4, timeout=20.0))
    assert log.lost[log.offloaded].all()
    assert 0 < log.sent.sum() < log.offloaded.sum()  # once it counts as away, little is sent
    # The error of all, and β for what was sent for nothing.
    assert measured["cost"] == 1 + 0.5 * log.sent.mean()
    assert measured["accuracy"] == 0
    # Offloading all is the best rule.
    assert measured["regret"] == pytest.approx(60 * (measured["cost"] - 0.5))


def test_what_is_answered_costs_beta_and_what_is_kept_its_error():
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        log, measured = costs(address, Plan(4))
    assert (log.sent == log.offloaded).all()
    assert measured["cost"] == pytest.approx(0.5 * log.offloaded.mean() + (~log.offloaded).mean())


@pytest.mark.parametrize("lie", ["samples", "order"])
def test_answers_to_other_samples_are_none(lie):
    """A server that answers each request with right answers to samples that were not asked."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port, stop = router.bind_to_random_port("tcp://127.0.0.1"), threading.Event()

    def run():
        while not stop.is_set():
            if router.poll(20):
                name, part = router.recv_multipart()
                request = wire.Assembly().add(part)
                others = tuple(one + 1 for one in request.samples) if lie == "samples" else request.samples[::-1]
                reply = Reply(request.run, request.number, others, (1,) * len(others), 0.1, 0.1)
                router.send_multipart([name, wire.pack_reply(reply)])

    (thread,) = started((run,))
    link = Link(context, f"tcp://127.0.0.1:{port}")
    link.start()
    log = Device(ReplayedSmall(TRACE, 0.0, 10), hi.HILF(0.1, 0.1, seed=0, levels=64), link, Plan(6, timeout=60.0)).run(
        18
    )
    link.close()
    stop.set()
    thread.join()
    router.close(linger=0)
    context.term()
    assert log.offloaded.any()
    for one in log.transmissions:
        assert one.lost or (lie == "order" and one.offloads == 1)
    assert log.stray >= sum(one.lost for one in log.transmissions)
