"""Batch HI over a real wire: a device, a link, a server, and what was measured against what the model predicts."""
