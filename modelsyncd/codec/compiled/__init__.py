"""The coder's hot loops once more, as machine code: the same bytes as numpy's, in a fraction of the time.

Nothing here is imported before `modelsyncd.codec.native` says so. Every index that a loop computes from a payload is
held against the length of what it reads, in the loop or before it.
"""
