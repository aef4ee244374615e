"""The only place for the bounds on what comes from outside. Checked before anything is allocated or written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, each with its unit. Tests shrink them; nothing else changes them."""

    manifest_bytes: int = 512 << 20  # bytes: enough for about 3 TiB of content in chunks of 256 KiB
    release_bytes: int = 1 << 20  # bytes of one serialised release
    desired_assignments: int = 10_000  # assignments of one node
    pins: int = 10_000  # pinned releases of one node
    files: int = 1_000_000  # files of one manifest
    chunk_bytes: int = 4 << 20  # plain bytes of one chunk
    chunks: int = 16_000_000  # chunks of one manifest
    content_bytes: int = 1 << 44  # plain bytes of one manifest: 16 TiB
    tensors: int = 1_000_000  # tensors of one manifest
    layout_tensors: int = 200_000  # tensors that are read from the header of one file
    layout_bytes: int = 64 << 20  # bytes that are read of one file to find its tensors
    layout_steps: int = 2_000_000  # things that are looked at in one file to find its tensors: some seconds
    layout_nesting: int = 32  # headers inside headers: arrays of arrays, dictionaries in dictionaries
    layout_extents: int = 64  # extents of one tensor
    layout_name_chars: int = 1_024  # characters of a tensor's name
    labels: int = 64  # labels of one release or node
    label_chars: int = 256  # characters of one label's key or value
    note_chars: int = 4_096  # characters of a release's note
    options: int = 256  # options of a recipe, or words of a command
    option_chars: int = 4_096  # characters of one of them
    variants: int = 64  # variants of one release
    members: int = 64  # members of one bundle
    signatures: int = 16  # signatures beside one release
    want_chunks: int = 16_384  # chunks of one transfer that are asked for and not durable
    queued_chunks: int = 262_144  # chunks that one peer may have asked for and not been given
    frame_bytes: int = 256 << 10  # payload bytes of one Give
    base_runs: int = 1_024  # runs of the base of one chunk
    bases: int = 64  # manifests that one Want may name as bases
    turned_rows: int = 65_536  # rows of a matrix that is read column by column: one read each
    message_bytes: int = 8 << 20  # bytes of one gRPC message; Desired is the largest
    faults_per_chunk: int = 3  # arrivals of one chunk that do not match its digest before the transfer is refused


LIMITS = Limits()
