"""What a batch size may count: samples, as the paper's M, or offloads, m."""

UNITS = ("samples", "offloads")
