"""Images and models become traces, calibrations and times; needs the extra `models`."""
