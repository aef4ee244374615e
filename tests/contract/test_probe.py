"""The probe's exit code says whether an agent serves."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from modelsyncd.client.probe import main, serves


def test_a_probe_says_whether_a_program_at_a_socket_serves(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    assert main([str(path)]) == 1
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        server.add_insecure_port(f"unix:{path}")
        server.start()
        assert not serves(f"unix:{path}")
        servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        asked = subprocess.run([sys.executable, "-m", "modelsyncd.client.probe", path], check=False, timeout=60)
        server.stop(None).wait()
    assert asked.returncode == 0


def test_a_path_that_no_socket_can_have_is_another_exit_code(tmp_path: Path) -> None:
    assert main([str(tmp_path / ("x" * 200))]) == 2
