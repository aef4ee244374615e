"""Bad links that need no root: real TCP on loopback (`relay.py`), and frames in simulated time (`frames.py`)."""
