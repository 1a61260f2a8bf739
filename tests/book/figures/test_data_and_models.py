"""What the page on data and models counts, on a few samples by hand."""

import math

import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import data_and_models as page


def test_what_a_learner_sees_by_hand():
    trace = hi.Trace([0.25, 0.5, 0.5, 0.875], [0, 0, 1, 1])
    row = page.seen({"Pets, Net": trace}, [0.25, 1.0]).loc["Net"]
    # At β = 0.25 offloading the least confident costs ¼ + 1; three, ¾; none, 2. At β = 1 nothing pays.
    assert row.to_dict() == {
        "data set": "Pets",
        "samples": 4,
        "accuracy": 0.5,
        "distinct p": 3,
        "λ_min": 0.125,  # from 0.875 to 1
        "θ* at β = 0.25": (0.5 + 0.875) / 2,
        "θ* at β = 1": 0.25 / 2,
    }


def files(right_clean):
    """Ten clean images, of which so many are answered right, and two of training, both right."""
    images = [f"n01_ILSVRC2012_val_{i}.JPEG" for i in range(10)] + ["n01_1.JPEG", "n01_2.JPEG"]
    return pd.DataFrame({"image": images, "correct": [i < right_clean or i >= 10 for i in range(12)]})


def test_leakage_by_wilsons_formula():
    row = page.leakage({"Imagenette, A": files(7)}).loc["Imagenette, A"]
    z, n, p = 1.959964, 10, 0.7
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    assert row.to_list() == pytest.approx([9 / 12, 0.7, low, high, 10, 2], abs=1e-6)


def test_provenance_shortens_the_record():
    record = {
        "model_sha256": "0123456789abcdef",
        "model_origin": "GitHub someone/models, commit 1",
        "preprocessing": "RGB, bilinear to 32x32",
        "versions": {"numpy": "2.2", "onnxruntime": "1.20"},
    }
    assert page.provenance({"A": record}).loc["A"].to_list() == [
        "01234567",
        "someone/models",
        "32x32",
        "onnxruntime 1.20",
    ]


def test_numbers_by_hand():
    leakage = page.leakage({"Imagenette, A": files(10), "Imagenette, B": files(4)})
    preprocessing = pd.DataFrame({"accuracy": [0.5, 0.75], "cost_0.5": [0.25, 0.375], "cost_0.7": [0.5, 0.25]})
    found = page.numbers(leakage, preprocessing, [0.5, 0.7])
    assert found["clean_loss_max"] == pytest.approx(6 / 12 - 0.4)
    assert (found["clean_loss_who"], found["clean_outside"]) == ("B", 0)  # Wilson's interval at 4 of 10 reaches 0.69
    assert (found["clean_images"], found["training_images"]) == (10, 2)
    assert found["preprocessing_spread"] == 0.25
    assert (found["preprocessing_cost_least"], found["preprocessing_cost_most"]) == (0.125, 0.25)


def test_costs_at_a_price_that_was_not_measured_are_not_known():
    leakage = page.leakage({"Imagenette, A": files(10)})
    preprocessing = pd.DataFrame({"accuracy": [0.5, 0.75], "cost_0.5": [0.25, 0.375]})
    found = page.numbers(leakage, preprocessing, [0.45])
    assert math.isnan(found["preprocessing_cost_least"])
    assert math.isnan(found["preprocessing_cost_most"])
    assert page.numbers(leakage, preprocessing, [0.45, 0.5])["preprocessing_cost_least"] == 0.125


def test_the_table_of_what_is_seen_is_rounded():
    shown = page.seen_table(page.seen({"Pets, Net": hi.Trace([0.25, 0.5], [0, 1])}, [0.5])).to_html()
    assert "2.5e−01" in shown
    assert "0.375" in shown
