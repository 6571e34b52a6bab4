"""Other ways to learn without backpropagation, each from its equations, on the same data and networks."""
