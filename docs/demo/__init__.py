"""The main job, shown end to end with a real model. Run it with `make demo`."""
