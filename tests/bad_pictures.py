"""Pictures that cannot be read, or hardly: of formats that nobody promised, and damaged in every way."""

import io

import numpy as np
from grey_pictures import SIDE, picture, unsure
from PIL import Image
from wire_peers import answer, ask, asking, serving

from hi_book.served import real

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print\nshowpage\n%%EOF\n"


def in_all_formats():
    """A small picture in every format that Pillow can write, by format."""
    Image.init()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    written = {}
    for name in sorted(Image.SAVE):
        for mode in ("RGB", "L", "1", "F"):
            file = io.BytesIO()
            try:
                noise.convert(mode).save(file, name)
            except Exception:
                continue
            written[name] = file.getvalue()
            break
    return written | {"EPS": EPS}


def damaged(rng, data):
    """Bytes with some of them changed, lost, doubled, or put where they do not belong."""
    broken = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, other = sorted(rng.integers(0, len(broken) + 1, 2).tolist())
        change = rng.integers(5)
        if change == 0 and broken:
            broken[min(at, len(broken) - 1)] = rng.integers(256)
        elif change == 1:
            del broken[at : at + rng.integers(1, 9)]
        elif change == 2:
            broken[at:at] = rng.bytes(rng.integers(1, 9))
        elif change == 3:
            broken[at:other] = rng.choice([b"\xff", b"\0", b"\x7f"]) * (other - at)
        else:
            del broken[other + 1 :]
    return bytes(broken)


def bad_pictures(count, seed):
    """So many damaged pictures, of all formats in turn."""
    rng, kinds = np.random.default_rng(seed), list(in_all_formats().values())
    return [damaged(rng, kinds[number % len(kinds)]) for number in range(count)]


def fuzz(count, seed, at_once=20):
    """Send damaged pictures to a running server, with a good one in each request: it must get its answer.

    Returns how many were answered and how many are unknown.
    """
    good, bad = picture(0), bad_pictures(count, seed)
    answers = []
    with serving(real.RealLarge(real.Classes(unsure, SIDE))) as (address, ended), asking(address) as (one,):
        for begin in range(0, count, at_once):
            batch = bad[begin : begin + at_once]
            place = begin // at_once % (len(batch) + 1)
            batch.insert(place, good)
            ask(one, range(len(batch)), batch, number=begin)
            found = list(answer(one, seconds=60).answers)
            assert found.pop(place) == 0
            answers += found
    assert ended[0].requests == -(-count // at_once)
    assert len(answers) == count
    return sum(one is not None for one in answers), answers.count(None)
