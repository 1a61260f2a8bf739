"""The `hi` command."""
