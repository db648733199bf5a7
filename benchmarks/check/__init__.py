"""The benchmark of `exnihilo check`: healthy models, injected faults, rebuilt bugs, and rival tools on the same cases."""
