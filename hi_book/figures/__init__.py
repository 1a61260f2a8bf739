"""What the book draws, and the numbers that its claims rest on."""
