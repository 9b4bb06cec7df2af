"""Ways to run a network, and the choice of the fastest that agrees with the others."""
