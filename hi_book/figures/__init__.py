"""What the book draws, and the numbers that its claims rest on."""

NARROW = "application/vnd.hi.narrow+svg"  # a figure as it is drawn for a phone, among a notebook's outputs
