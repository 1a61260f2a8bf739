"""The paper's evaluation settings: its constants, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from hi_lib import checks, traces
from hi_lib.timing import TimingModel


@dataclass(frozen=True)
class Setting:
    """One evaluation setting of the paper: its constants, and where each comes from.

    `rate` is in bit/s, `image_bytes` in bytes, `timing` in ms; `offload_ratio` is the paper's ρ at `beta` (None where
    the paper gives none) and `offload_ratios` holds all that it gives, by β.
    """

    name: str
    timing: TimingModel
    beta: float
    offload_ratio: float | None
    samples: int
    image_bytes: float
    rate: float
    offload_ratios: dict[float, float] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def transmission_time(self) -> float:
        """Time to send one image, 8 · image_bytes / rate, ms; the paper prints it rounded, as `timing.tau_tx`."""
        return 8 * self.image_bytes / self.rate * 1000


_SOURCES = {
    "tau_ed": "Section IV: AlexNet on a Jetson at 15 W, measured by the paper's reference [10]",
    "tau_tx": "Section IV: image size over uplink rate, rounded",
    "tau_nw": "Section IV: round-trip time of 172-byte packets, the paper's reference [16]",
    "beta": "Section IV: default of the simulations",
    "samples": "Section IV: number of samples",
    "image_bytes": "Section IV: average image size; its tau_tx needs 1 KB = 1024 bytes",
    "rate": "Section IV: uplink data rate",
}

IMAGENETTE = Setting(
    name="Imagenette",
    timing=TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0),
    beta=0.7,
    offload_ratio=0.421,
    samples=3925,
    image_bytes=30.08 * 1024,
    rate=50e6,
    offload_ratios={0.3: 0.794, 0.5: 0.671, 0.7: 0.421},
    sources=_SOURCES
    | {
        "tau_es": "Section IV: ConvNeXt on an A100, measured by the paper's reference [10]",
        "offload_ratio": "Section IV: from vanilla HI at the same beta",
    },
)

CIFAR10 = Setting(
    name="CIFAR-10",
    timing=TimingModel(tau_ed=0.39, tau_es=4.29, tau_tx=0.49, tau_nw=20.0),
    beta=0.5,
    offload_ratio=None,
    samples=10000,
    image_bytes=3 * 1024,
    rate=50e6,
    sources=_SOURCES
    | {
        "tau_es": "Section IV: ViT-H/14 on an A100, measured by the paper's reference [10]",
        "offload_ratio": "not stated by the paper",
    },
)

# By the names that the records of traces call them.
SETTINGS = {"imagenette": IMAGENETTE, "cifar10": CIFAR10}


def setting_of(trace: str | None) -> Setting:
    """The setting whose times go with a trace, as its record says; Imagenette's, the paper's first, where none does.

    Raises
    ------
    ValueError
        The record cannot be read, or names a setting that the paper does not have.

    Examples
    --------
    >>> setting_of("cifar10-resnet8").name, setting_of(None).name
    ('CIFAR-10', 'Imagenette')
    """
    name = "imagenette" if trace is None else traces.record(trace).get("setting", "imagenette")
    return SETTINGS[checks.choice(f"the setting of {trace}", name, SETTINGS)]
