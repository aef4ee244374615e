"""Speed and memory, as ratios to peers or limits of the machine in the same run."""
