"""Putting the model, KServe's server and the metrics together."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from kserve import model_server

from serving.predictor.model import RecommenderModel
from serving.predictor.package import Package, PackageError, open_package
from serving.protocol.gate import RequestMetrics
from serving.protocol.headers import MODEL_HEADER, REVISION_HEADER
from serving.protocol.own_revision import own_revision
from serving.protocol.request import Limits
from serving.protocol.rest_server import EX_CONFIG, RestServer, guard, quiet
from serving.signature import PUBLIC_KEY, SignatureError, key_in


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options: KServe's, and those of this server."""
    parser = argparse.ArgumentParser(prog="serving.predictor", parents=[model_server.parser])
    # One line per request and a second port are for those who ask for them.
    parser.set_defaults(enable_grpc=False, enable_latency_logging=False)
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"), help="The package.")
    parser.add_argument("--host", default="0.0.0.0", help="Address to listen on.")
    parser.add_argument(
        "--revision",
        help="Label of the metrics; by default what the platform calls this server's revision.",
    )
    parser.add_argument("--tf_threads", type=int, default=1, help="Threads TensorFlow computes on.")
    parser.add_argument("--max_batch", type=int, default=Limits.rows, help="Rows in a request.")
    parser.add_argument("--max_k", type=int, default=Limits.k, help="Recommendations per row.")
    parser.add_argument("--max_history", type=int, default=Limits.values, help="Events in a row.")
    parser.add_argument("--max_body_bytes", type=int, default=4 * 2**20, help="Size of a request.")
    options = parser.parse_args(argv)
    if options.revision is None:
        options.revision = own_revision(options.model_name, os.environ)
    return options


def serve(
    options: argparse.Namespace, *, model_class: type[RecommenderModel] = RecommenderModel
) -> int:
    """Load the package and serve it until SIGTERM.

    Args:
        options: See `arguments`.
        model_class: The model that answers.

    Returns:
        Exit code; EX_CONFIG when the package cannot be served.
    """
    tf.config.threading.set_intra_op_parallelism_threads(options.tf_threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.tf_threads)
    try:
        keys = key_in(os.environ, PUBLIC_KEY)
        package: Package = open_package(options.model_dir, public_keys=keys)
        model = model_class(
            options.model_name,
            package,
            limits=Limits(rows=options.max_batch, k=options.max_k, values=options.max_history),
            threads=options.tf_threads,
        )
        model.load()
    except (PackageError, SignatureError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EX_CONFIG
    guard(
        model_server.app,
        metrics=RequestMetrics("shopflow_predictor"),
        model=options.model_name,
        revision=options.revision,
        max_body_bytes=options.max_body_bytes,
        answer_headers={
            REVISION_HEADER: options.revision,
            MODEL_HEADER: f"{package.name}/{package.version}/{package.model_sha256}",
        },
    )
    server = RestServer(
        http_port=options.http_port,
        enable_grpc=options.enable_grpc,
        workers=1,
        enable_latency_logging=options.enable_latency_logging,
        grace_period=10,
    )
    server.host = options.host
    if not options.enable_latency_logging:
        quiet()
    server.start([model])
    return 0
