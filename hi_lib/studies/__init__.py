"""Studies on top of replays: grids of runs, the best batch, an L-ML that errs, measured times."""
