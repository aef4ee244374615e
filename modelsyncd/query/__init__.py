"""How releases are searched for: a small language over what a release is found by, read and judged without any I/O."""
