"""The book: figures and the notebooks that draw them, makers of traces, the press that renders it all, and commands."""
