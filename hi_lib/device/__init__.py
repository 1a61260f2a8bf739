"""What a device runs, one sample after the other: its learners, and its batch size."""
