"""The benchmark of `exnihilo check`: healthy models, injected faults, rebuilt bugs, rival tools on the same cases."""
