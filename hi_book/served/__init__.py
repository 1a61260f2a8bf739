"""Models for the wire: real ones that traces are made of, one's own, and those on servers of others."""
