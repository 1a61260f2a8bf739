"""Pictures of one grey, a class for each; models that tell them apart; a run of the device against a foreign server."""

import io

import numpy as np
import zmq
from PIL import Image

import hi_lib as hi
from hi_book.makers import networks
from hi_book.makers.classifiers import Outputs
from hi_book.served import real
from hi_book.served.infer import Gateway, Model, Wanted
from hi_live.device import Device
from hi_live.link import Link

SIDE, CLASSES = 8, 4


def level(label):
    """Pictures of a class are of one grey."""
    return 30 + 60 * label


def picture(label):
    file = io.BytesIO()
    Image.fromarray(np.full((SIDE, SIDE, 3), level(label), np.uint8)).save(file, "PNG")
    return file.getvalue()


def unsure(pictures):
    """An S-ML that takes every picture for one of the first class, and is sure of that where it is dark."""
    scores = np.array([[0.9, 0.1, 0, 0] if one.mean() < 100 else [0.4, 0.3, 0.2, 0.1] for one in pictures])
    return Outputs(scores, np.log(np.maximum(scores, 1e-9)))


def network(path, asked, says=lambda pictures: unsure(pictures).probabilities):
    """A network of one's own that was read, in place of `networks.read`: no runtime is needed."""
    form, notes = networks.form_of(path, ["n", 3, SIDE, SIDE], "tensor(float)", asked)
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    return networks.Network(form, says([black]).shape[1], says, notes)


def small(samples=60):
    labels = np.random.default_rng(1).integers(CLASSES, size=samples)
    pictures = real.Pictures([picture(label) for label in labels], labels, [f"{n}.png" for n in range(samples)])
    return real.RealSmall(real.Classes(unsure, SIDE), pictures, samples, 0)


def live(address, plan, wanted=None, samples=60, **emulated):
    """A run of the device; its log, the gateway and the link's delays."""
    context = zmq.Context()
    model = Model(address, wanted or Wanted(), plan.batch_size, plan.timeout)
    gateway = Gateway(context, model)
    link = Link(context, gateway.address, **emulated)
    gateway.start()
    link.start()
    try:
        log = Device(small(samples), hi.HILF(0.3, 0.2, seed=0, levels=64), link, plan).run(samples)
    finally:
        link.close()
        gateway.close()
        context.term()
    return log, gateway, link.delays
