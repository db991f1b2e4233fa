"""The KServe model around a SavedModel."""

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kserve
import numpy as np
import tensorflow as tf

from serving.predictor.batcher import Batcher
from serving.predictor.package import Package, PackageError
from serving.protocol.request import (
    DEFAULT_SIGNATURE,
    REQUIRED,
    BadRequest,
    Batch,
    InputSpec,
    Kind,
    Limits,
    decoded,
    read_v1,
    read_v2,
)

_OPTIONAL: Mapping[str, Any] = {"user": "", "history": [], "k": 10}
_V2_TYPE = {"O": "BYTES", "f": "FP32", "i": "INT64"}


class RecommenderModel(kserve.Model):  # type: ignore[misc]  # kserve ships no types
    """Answers v1 and v2 requests with a package's SavedModel.

    The same v1 bodies work on TensorFlow Serving; here, optional inputs may be left out and
    histories may differ in length.
    """

    def __init__(self, name: str, package: Package, *, limits: Limits, threads: int) -> None:
        """Prepare to serve; `load` makes it ready.

        Args:
            name: Name of the model in the protocol.
            package: The verified package.
            limits: How much one request may ask for.
            threads: Predictions that may run at the same time.
        """
        super().__init__(name)
        self._package, self._limits = package, limits
        pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._batcher = Batcher(self._run, pool, name=name, runs=threads, max_rows=limits.rows)
        self._functions: dict[str, Any] = {}
        self._inputs: dict[str, Sequence[InputSpec]] = {}

    def load(self) -> bool:
        """Load the SavedModel and run the package's warm-up requests; ready only then."""
        self._loaded = tf.saved_model.load(str(self._package.saved_model_dir))
        self._functions = dict(self._loaded.signatures)
        self._inputs = {name: _inputs(function) for name, function in self._functions.items()}
        for number, body in enumerate(self._package.warmup):
            try:
                self._run(self._read(body))
            except (BadRequest, tf.errors.OpError) as error:
                raise PackageError(f"warm-up request {number} has no answer: {error}") from error
        self.ready = True
        return True

    async def predict(
        self, payload: object, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any] | kserve.InferResponse:
        """Answer one request outside the event loop, so that probes are answered meanwhile."""
        if isinstance(payload, kserve.InferRequest):
            batch = self._read_v2(payload)
            outputs = await self._batcher.answer(batch)
            return self._v2_answer(outputs, payload.id or str(uuid.uuid4()))
        if isinstance(payload, bytes):
            payload = decoded(payload, (headers or {}).get("content-type", ""))
        return {"predictions": _rows(await self._batcher.answer(self._read(payload)))}

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the default signature's inputs for the v2 metadata."""
        kinds = {"string": "BYTES", "integer": "INT64", "number": "FP32"}
        return [
            {
                "name": spec.name,
                "datatype": kinds[spec.kind],
                "shape": [-1, -1] if spec.repeated else [-1],
            }
            for spec in self._inputs.get(DEFAULT_SIGNATURE, ())
        ]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the default signature's outputs for the v2 metadata."""
        function = self._functions.get(DEFAULT_SIGNATURE)
        outputs = function.structured_outputs if function is not None else {}
        return [
            {
                "name": name,
                "datatype": _V2_TYPE[np.dtype(spec.dtype.as_numpy_dtype).kind],
                "shape": [-1] * spec.shape.rank,
            }
            for name, spec in outputs.items()
        ]

    def _read(self, payload: object) -> Batch:
        return read_v1(payload, signatures=self._inputs, limits=self._limits)

    def _read_v2(self, payload: kserve.InferRequest) -> Batch:
        tensors = {
            tensor.name: (tensor.datatype, tensor.shape, tensor.data) for tensor in payload.inputs
        }
        signature = (payload.parameters or {}).get("signature_name")
        return read_v2(tensors, signature, signatures=self._inputs, limits=self._limits)

    def _run(self, batch: Batch) -> dict[str, Any]:
        function = self._functions[batch.signature]
        specs = function.structured_input_signature[1]
        tensors = {name: tf.constant(v, specs[name].dtype) for name, v in batch.columns.items()}
        return {name: tensor.numpy() for name, tensor in function(**tensors).items()}

    def _v2_answer(self, outputs: Mapping[str, Any], request_id: str) -> kserve.InferResponse:
        tensors = []
        for name, value in sorted(outputs.items()):
            datatype = _V2_TYPE[value.dtype.kind]
            if datatype == "BYTES":
                data = [entry.decode() for entry in value.ravel().tolist()]
            else:
                # JSON has no infinity, so the score of padding is the lowest finite one.
                lowest = float(np.finfo(np.float32).min) if datatype == "FP32" else None
                data = np.nan_to_num(value, nan=np.nan, neginf=lowest).ravel().tolist()
            tensors.append(kserve.InferOutput(name, list(value.shape), datatype, data))
        return kserve.InferResponse(request_id, self.name, tensors)


def _inputs(function: Any) -> list[InputSpec]:
    kinds: dict[str, Kind] = {"O": "string", "i": "integer", "f": "number"}
    return [
        InputSpec(
            name,
            kinds[np.dtype(spec.dtype.as_numpy_dtype).kind],
            repeated=spec.shape.rank == 2,
            default=_OPTIONAL.get(name, REQUIRED),
        )
        for name, spec in sorted(function.structured_input_signature[1].items())
    ]


def _rows(outputs: Mapping[str, Any]) -> list[Any]:
    """Return TensorFlow Serving's rows: a single output goes without its name.

    Recommendations are cut where the padding begins, so a row with a smaller k is a shorter one.
    """
    columns = {name: _listed(value) for name, value in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if {"items", "scores"} <= columns.keys():
        for row in rows:
            length = sum(score != -np.inf for score in row["scores"])
            row["items"], row["scores"] = row["items"][:length], row["scores"][:length]
    return rows


def _listed(value: Any) -> list[Any]:
    if value.dtype.kind != "O":
        listed: list[Any] = value.tolist()
        return listed
    if value.ndim == 1:
        return [entry.decode() for entry in value.tolist()]
    return [[entry.decode() for entry in row] for row in value.tolist()]
