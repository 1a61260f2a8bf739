"""Notebooks become results, claims and the book."""
