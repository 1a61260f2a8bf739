"""From a log and times to what a device should do."""
