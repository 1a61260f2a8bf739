"""Batch HI: hierarchical inference that learns when to offload, a batch at a time.

>>> import hi_lib as hi
>>> trace = hi.load_trace("cifar10-resnet8")
>>> run = hi.replay(trace, beta=0.5, batch_size=8)
>>> run.regret < run.regret_bound
True
"""

from hi_lib.advise.evaluation import Evaluation, evaluate
from hi_lib.advise.recommending import recommend
from hi_lib.advise.ways import Conditions
from hi_lib.budgets import Frontier, Mixture, best_mixture, budget_of_energy, frontier
from hi_lib.device.exploring import HILN, Apple
from hi_lib.device.offloads import OffloadBatches
from hi_lib.device.streaming import HILF, Ticket
from hi_lib.learners import Run, replay
from hi_lib.optima import OptimalBatch
from hi_lib.paper import CIFAR10, IMAGENETTE, Setting
from hi_lib.regret import (
    BestThreshold,
    anytime_learning_rates,
    anytime_regret_bound,
    apple_bound,
    best_threshold,
    budget_rates,
    budget_regret_bound,
    equivalent_batch_size,
    fixed_share_bound,
    lambda_min,
    partial_feedback_bound,
    random_order_term,
    regret_bound,
    tuned_apple_rate,
    tuned_exploration,
    tuned_learning_rate,
    tuned_partial_feedback_rate,
)
from hi_lib.slow_start import TCP as tcp  # noqa: N811 (it reads as a function does: network_time=hi.tcp(…))
from hi_lib.studies.best_batch import BestBatch, best_batch_size
from hi_lib.studies.made_up import coin_regret, halving_coins, synthetic_trace
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace, list_traces, load_trace

__version__ = "0.1.0"

__all__ = [
    "CIFAR10",
    "HILF",
    "HILN",
    "IMAGENETTE",
    "Apple",
    "BestBatch",
    "BestThreshold",
    "Conditions",
    "Evaluation",
    "Frontier",
    "Mixture",
    "OffloadBatches",
    "OptimalBatch",
    "Run",
    "Setting",
    "Ticket",
    "TimingModel",
    "Trace",
    "anytime_learning_rates",
    "anytime_regret_bound",
    "apple_bound",
    "best_batch_size",
    "best_mixture",
    "best_threshold",
    "budget_of_energy",
    "budget_rates",
    "budget_regret_bound",
    "coin_regret",
    "equivalent_batch_size",
    "evaluate",
    "fixed_share_bound",
    "frontier",
    "halving_coins",
    "lambda_min",
    "list_traces",
    "load_trace",
    "partial_feedback_bound",
    "random_order_term",
    "recommend",
    "regret_bound",
    "replay",
    "synthetic_trace",
    "tcp",
    "tuned_apple_rate",
    "tuned_exploration",
    "tuned_learning_rate",
    "tuned_partial_feedback_rate",
]
