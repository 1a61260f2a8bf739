"""Studies on top of replays: grids of runs, the best batch, crowds, an L-ML that errs, measured times."""
