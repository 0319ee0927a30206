"""Times stem and onionbalance at the work of the benches beside this folder, and prints what it finds as JSON.

    peers.py [--rehearse] DESCRIPTOR PRIVATE_KEY NS_ALL LONGER_NS_ALL

With `--rehearse`, every time is measured once and in haste. Each peer is called as its own program calls it: onionbalance's functions where it has one for the work, stem's below them.
"""

import argparse
import datetime
import json
import logging
import os
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
from importlib import metadata

import stem.control
import stem.descriptor.hidden_service as hidden_service
from Cryptodome.PublicKey import RSA

from onionbalance.common.intro_point_set import IntroductionPointSet
from onionbalance.hs_v2 import config, consensus, descriptor, util

# How often each piece of work is timed, and for how long at least.
BATCHES = 5
SECONDS = 0.2

DIRECTORIES = 7000
INSTANCES = 20


class Controller(stem.control.Controller):
    """Answers `GETINFO ns/all` from a file; what is done with the answer is stem's own code."""

    def __init__(self, answer):
        self.answer = answer

    def get_info(self, _key, get_bytes):
        return self.answer

    def __del__(self):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("files", nargs=4, type=argparse.FileType("rb"))
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    work = dict(rows(*(file.read() for file in arguments.files)))
    once = 0 if arguments.rehearse else SECONDS
    json.dump(
        {
            "versions": {
                "Python": platform.python_version(),
                **{name: metadata.version(name) for name in ("stem", "onionbalance", "cryptography", "pycryptodomex")},
            },
            # Memory first: Python keeps what it has compiled and cached the first time.
            "peak": {name: peak(function) for name, function in work.items()},
            "seconds": {name: seconds(function, once) for name, function in work.items()},
        },
        sys.stdout,
    )


def rows(text, pem, ns_all, longer_ns_all):
    """Every piece of work with its name."""
    Descriptor = hidden_service.HiddenServiceDescriptorV2
    yield "parse", lambda: Descriptor(text, validate=True, skip_crypto_validation=True).introduction_points()
    yield "verify", lambda: Descriptor(text, validate=True)

    key = RSA.import_key(pem)
    now = datetime.datetime(2026, 11, 22, 12, 0, 0)
    instances = points_of_instances(Descriptor(text, validate=True).introduction_points())
    ten = IntroductionPointSet(instances).choose(config.MAX_INTRO_POINTS)

    def sign(points, replica):
        return descriptor.generate_service_descriptor(key, points, replica, now)

    def six():
        points = IntroductionPointSet(instances)
        for replica in range(config.REPLICAS):
            for _ in range(config.HSDIR_SET):
                sign(points.choose(config.MAX_INTRO_POINTS), replica)

    # What is made can be read.
    made = Descriptor(sign(ten, 0).encode(), validate=True)
    assert len(made.introduction_points()) == config.MAX_INTRO_POINTS

    yield "sign", lambda: sign(ten, 0)
    yield "six", six
    yield "rsa verify", lambda: made._digest_for_signature(made.permanent_key, made.signature)
    yield "rsa sign", lambda: descriptor.sign(b"", key)

    address = util.calc_onion_address(key)
    timestamp = now.timestamp()
    ring = ["%040X" % (place * (2**160 // DIRECTORIES)) for place in range(DIRECTORIES)]

    def directories():
        consensus.HSDIR_LIST = ring
        for replica in range(config.REPLICAS):
            responsible = consensus.get_hsdirs(util.calc_descriptor_id_b32(address, timestamp, replica))
            assert len(responsible) == config.HSDIR_SET

    yield "directories", directories

    config.controller = Controller(ns_all)

    def read_ring():
        consensus.HSDIR_LIST = []
        consensus.refresh_consensus()
        assert consensus.HSDIR_LIST

    yield "ring", read_ring

    tor = connect(longer_ns_all)

    def read_relays():
        assert sum(1 for _ in tor.get_network_statuses()) == longer_ns_all.count(b"\nw ")

    yield "ask", read_relays


def connect(ns_all):
    """stem's controller at a control port that lets everybody in and answers every question with the same."""
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "control")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    answer = b"250+ns/all=\r\n" + ns_all.replace(b"\n", b"\r\n") + b".\r\n250 OK\r\n"

    def serve():
        connection, _ = listener.accept()
        for line in connection.makefile("rb"):
            if line.startswith(b"PROTOCOLINFO"):
                connection.sendall(b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n")
            elif line.startswith(b"GETINFO ns/all"):
                connection.sendall(answer)
            else:
                connection.sendall(b"250 OK\r\n")

    threading.Thread(target=serve, daemon=True).start()
    tor = stem.control.Controller.from_socket_file(path)
    tor.authenticate()
    folder.cleanup()
    return tor


def points_of_instances(points):
    """Three introduction points for each instance, all of them different."""
    return [
        [point._replace(identifier="%s%02d" % (point.identifier[:-2], number)) for point in points]
        for number in range(INSTANCES)
    ]


def seconds(function, least):
    """The median of some batches' means; a batch takes `least` seconds or more."""
    count = 1
    while batch(function, count) < least:
        count *= 2
    return statistics.median(batch(function, count) / count for _ in range(BATCHES))


def batch(function, count):
    """How long it takes to call a function `count` times."""
    start = time.perf_counter()
    for _ in range(count):
        function()
    return time.perf_counter() - start


def peak(function):
    """The most memory that Python's own allocators held during one call, in bytes, above what they held before."""
    function()
    tracemalloc.start()
    function()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


if __name__ == "__main__":
    main()
