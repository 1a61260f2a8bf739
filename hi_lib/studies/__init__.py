"""What many runs say together, or the measurements of others."""
