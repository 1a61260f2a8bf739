"""The clock, event by event: what a formula says is checked here."""
