"""What others do with the same bytes on the same machine: nginx with curl over TLS, and rsync's daemon."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from benchmarks.lab import started, until


def missing() -> list[str]:
    """Programs that are not installed."""
    return [name for name in ("nginx", "curl", "rsync", "openssl") if shutil.which(name) is None]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def nginx_command(source: Path, work: Path, listen: str) -> list[str]:
    """What starts an nginx that serves the file's folder over TLS 1.3 at this address; its files go to `work`."""
    work.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-keyout", str(work / "key.pem"), "-out", str(work / "cert.pem")],
        check=True,
        capture_output=True,
    )
    (work / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {work}/pid; error_log {work}/error.log; user root;\n"
        "events { worker_connections 64; }\n"
        "http { access_log off; sendfile on; tcp_nopush on; "
        f"client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fcgi; "
        f"uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;\n"
        f"server {{ listen {listen} ssl; ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; "
        f"ssl_protocols TLSv1.3; location / {{ root {source.parent}; }} }} }}\n"
    )
    return ["nginx", "-p", str(work), "-e", str(work / "start.log"), "-c", str(work / "nginx.conf")]


def nginx_download(source: Path, work: Path) -> float:
    """Seconds for curl to fetch the file from nginx over TLS 1.3 into a new file; nothing is synced or hashed."""
    port = _free_port()
    command = nginx_command(source, work, f"127.0.0.1:{port}")
    with started(command, work / "nginx.log") as server:
        until(lambda: _answers(port), server.process)
        target = work / "fetched"
        target.unlink(missing_ok=True)
        began = time.monotonic()
        subprocess.run(
            ["curl", "-sS", "--fail", "-k", "-o", str(target), f"https://127.0.0.1:{port}/{source.name}"], check=True
        )
        seconds = time.monotonic() - began
    _same_size(source, target)
    target.unlink()
    return seconds


def rsync_download(source: Path, work: Path) -> float:
    """Seconds for rsync to fetch the file from its daemon into a new file; no TLS, and it checks its own checksum."""
    work.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    (work / "rsyncd.conf").write_text(
        f"use chroot = no\nuid = root\ngid = root\nport = {port}\naddress = 127.0.0.1\npid file = {work}/rsyncd.pid\n"
        f"[models]\npath = {source.parent}\nread only = yes\n"
    )
    (work / "rsyncd.pid").unlink(missing_ok=True)
    command = ["rsync", "--daemon", "--no-detach", f"--config={work}/rsyncd.conf"]
    with started(command, work / "rsyncd.log") as server:
        until(lambda: _answers(port), server.process)
        target = work / "synced"
        target.unlink(missing_ok=True)
        began = time.monotonic()
        subprocess.run(
            ["rsync", f"rsync://127.0.0.1:{port}/models/{source.name}", str(target)], check=True, capture_output=True
        )
        seconds = time.monotonic() - began
    _same_size(source, target)
    target.unlink()
    return seconds


def _same_size(source: Path, target: Path) -> None:
    if source.stat().st_size != target.stat().st_size:
        raise RuntimeError(f"{target} is not whole")
