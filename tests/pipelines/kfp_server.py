"""Kubeflow Pipelines' REST API on loopback, made of kfp-server-api's own model classes.

KFP's own server cannot be had where these tests run (README.md beside this file). This one reads
and writes nothing that KFP's generated models do not know, and answers as KFP 2.17 was seen to.
"""

import datetime
import email.parser
import email.policy
import json
import threading
import types
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import kfp_server_api as kfp
import yaml

API = "/apis/v2beta1"
# gRPC's code and what the gateway makes of it.
_INVALID, _NOT_FOUND, _EXISTS, _DENIED, _AWAY, _UNKNOWN = 3, 5, 6, 7, 14, 16
_STATUS = {
    _INVALID: 400, _NOT_FOUND: 404, _EXISTS: 409, _DENIED: 403, _AWAY: 503, _UNKNOWN: 401,
}  # fmt: skip
# The answer to a list of each kind, and where in it the list is.
_LISTS = {
    "experiments": (kfp.V2beta1ListExperimentsResponse, "experiments"),
    "pipelines": (kfp.V2beta1ListPipelinesResponse, "pipelines"),
    "versions": (kfp.V2beta1ListPipelineVersionsResponse, "pipeline_versions"),
    "runs": (kfp.V2beta1ListRunsResponse, "runs"),
    "recurringruns": (kfp.V2beta1ListRecurringRunsResponse, "recurring_runs"),
}


class Refused(Exception):
    """A request that KFP refuses, with gRPC's code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class KfpServer:
    """A running server; everything it has is in `stored`, by kind and id.

    Attributes:
        host: Its URL.
        token: The bearer token it wants; "" lets everybody in.
        namespaces: Those the user may use; None for a server with one user.
        stored: What was created: "experiments", "pipelines", "versions", "runs", "recurringruns".
        workflow: The Argo workflow of every run, as the persistence agent reports it.
        logs: Text by pod name.
        reports: (state, tasks) of a run, one for each look at it; the last one stays. Without a
            state the server is not there at that look.
        requests: "METHOD path" of every request.
        log_in_page: Whether every request is sent to a page to log in, as Dex does.
    """

    def __init__(self, token: str = "", namespaces: tuple[str, ...] | None = None) -> None:
        self.token, self.namespaces, self.log_in_page = token, namespaces, False
        self.stored: dict[str, dict[str, Any]] = {
            kind: {} for kind in ("experiments", "pipelines", "versions", "runs", "recurringruns")
        }
        self.workflow: dict[str, Any] = {}
        self.logs: dict[str, str] = {}
        self.reports: list[tuple[str, list[dict[str, Any]]]] = []
        self.requests: list[str] = []
        self.models = kfp.ApiClient()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"own": self}))
        self.host = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def read(self, body: bytes, model: str) -> Any:
        """Return a request's body as KFP's model, refusing fields the model does not have."""
        given = json.loads(body)
        value = self.models.deserialize(types.SimpleNamespace(data=body.decode()), model)
        if (known := self.models.sanitize_for_serialization(value)) != given:
            raise Refused(_INVALID, f"unknown fields: sent {given}, known {known}")
        return value

    def may_use(self, namespace: str | None) -> None:
        if self.namespaces is not None and namespace not in self.namespaces:
            raise Refused(_DENIED, f"User is not authorized in namespace {namespace!r}")

    def add(self, kind: str, value: Any, id_field: str) -> Any:
        setattr(value, id_field, str(uuid.uuid4()))
        value.created_at = datetime.datetime.now(datetime.UTC)
        self.stored[kind][getattr(value, id_field)] = value
        return value


class Handler(BaseHTTPRequestHandler):
    """One request."""

    own: KfpServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self, status: int, value: Any, content_type: str = "application/json") -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.own.requests.append(f"{self.command} {url.path}")
        if self.own.log_in_page:
            if url.path != "/dex/auth":
                self.send_response(302)
                self.send_header("Location", "/dex/auth")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            return self._answer(200, "<html>log in</html>", "text/html")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        try:
            if url.path != f"{API}/healthz":
                self._let_in()
            answer = self._route(url.path, query, body)
            known = self.own.models.sanitize_for_serialization(answer)
            self._answer(200, known, "text/plain" if isinstance(known, str) else "application/json")
        except Refused as refused:
            self._answer(_STATUS[refused.code], self._refusal(url.path, refused))

    def _refusal(self, path: str, refused: Refused) -> dict[str, Any]:
        trace = f"{refused}\ngithub.com/kubeflow/pipelines/backend/src/apiserver"
        if path.endswith("/upload_version"):
            return {"error_message": str(refused), "error_details": trace}
        outer = f"Failed to do what was asked: {refused}"
        return {"code": refused.code, "message": outer, "details": [{"message": str(refused)}]}

    do_GET = do_POST = do_DELETE = _serve

    def _let_in(self) -> None:
        if self.own.token and self.headers.get("Authorization") != f"Bearer {self.own.token}":
            raise Refused(_UNKNOWN, "Request header error: there is no user identity header.")

    def _route(self, path: str, query: dict[str, str], body: bytes) -> Any:
        parts = path.removeprefix(f"{API}/").split("/")
        match self.command, parts:
            case "GET", ["healthz"]:
                return kfp.V2beta1GetHealthzResponse(multi_user=self.own.namespaces is not None)
            case "GET", ["pipelines", one, "versions"]:
                return self._page("versions", query, {"pipeline_id": one})
            case "GET", ["runs", one]:
                return self._look(self._get("runs", one))
            case "GET", [("experiments" | "pipelines" | "runs" | "recurringruns") as kind]:
                self.own.may_use(query.get("namespace"))
                return self._page(kind, query, {})
            case "POST", ["experiments"]:
                new = self.own.read(body, "V2beta1Experiment")
                self.own.may_use(new.namespace)
                return self.own.add("experiments", new, "experiment_id")
            case "POST", ["pipelines"]:
                return self._create_pipeline(self.own.read(body, "V2beta1Pipeline"))
            case "POST", ["pipelines", "upload_version"]:
                return self._upload(query, body)
            case "POST", ["runs"]:
                new = self._runnable(self.own.read(body, "V2beta1Run"))
                new.state = "PENDING"
                new.finished_at = datetime.datetime.fromtimestamp(0, datetime.UTC)
                return self.own.add("runs", new, "run_id")
            case "POST", ["recurringruns"]:
                return self._recurring(self.own.read(body, "V2beta1RecurringRun"))
            case "POST", ["recurringruns", one]:
                one, _, verb = unquote(one).partition(":")
                mode = {"enable": "ENABLE", "disable": "DISABLE"}[verb]
                self._get("recurringruns", one).mode = mode
                return {}
            case "DELETE", ["pipelines", _, "versions", one]:
                del self.own.stored["versions"][one]
                return {}
            case "DELETE", [("experiments" | "pipelines" | "recurringruns") as kind, one]:
                self._get(kind, one)
                del self.own.stored[kind][one]
                return {}
        return self._older(path)

    def _older(self, path: str) -> Any:
        """Answer what is left of the older interfaces: the workflow and a pod's log."""
        match path.split("/"):
            case [_, "apis", "v1beta1", "runs", run_id]:
                self._get("runs", run_id)
                manifest = json.dumps(self.own.workflow)
                runtime = {"pipeline_runtime": {"workflow_manifest": manifest}}
                return {"run": {"id": run_id}, **runtime}
            case [_, "apis", "v1alpha1", "runs", _, "nodes", pod, "log"]:
                missing = json.dumps({"error_message": f"pods {pod!r} not found"})
                return self.own.logs.get(pod, missing)
        raise Refused(_NOT_FOUND, "Not Found")

    def _look(self, run: Any) -> Any:
        if reports := self.own.reports:
            run.state, tasks = reports.pop(0) if len(reports) > 1 else reports[0]
            if not run.state:
                raise Refused(_AWAY, "upstream connect error")
            details = [kfp.V2beta1PipelineTaskDetail(**task) for task in tasks]
            run.run_details = kfp.V2beta1RunDetails(task_details=details)
        return run

    def _get(self, kind: str, one: str) -> Any:
        if one not in self.own.stored[kind]:
            raise Refused(_NOT_FOUND, f"{kind} {one} not found")
        return self.own.stored[kind][one]

    def _page(self, kind: str, query: dict[str, str], same: dict[str, str]) -> Any:
        for predicate in json.loads(query.get("filter") or '{"predicates": []}')["predicates"]:
            assert predicate["operation"] == "EQUALS"
            same[predicate["key"]] = predicate["stringValue"]
        found = [
            one
            for one in self.own.stored[kind].values()
            if all(getattr(one, key) == value for key, value in same.items())
        ]
        if query.get("sort_by") == "created_at desc":
            found.sort(key=lambda one: one.created_at, reverse=True)
        # Pages of two, whatever was asked for: a client that reads one page only shows.
        start = int(query.get("page_token") or 0)
        model, field = _LISTS[kind]
        more = str(start + 2) if start + 2 < len(found) else None
        return model(**{field: found[start : start + 2]}, next_page_token=more)

    def _create_pipeline(self, new: Any) -> Any:
        self.own.may_use(new.namespace)
        if any(one.display_name == new.display_name for one in self._all("pipelines")):
            raise Refused(_EXISTS, f"A pipeline {new.display_name} already exists")
        return self.own.add("pipelines", new, "pipeline_id")

    def _upload(self, query: dict[str, str], body: bytes) -> Any:
        pipeline = self._get("pipelines", query["pipelineid"])
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        (part,) = message.iter_parts()
        spec = next(yaml.load_all(part.get_content(), yaml.CSafeLoader))
        if spec.get("schemaVersion") != "2.1.0":
            raise Refused(_INVALID, "KFP only supports schema version 2.1.0")
        name = query["name"]
        for one in self._all("versions"):
            if (one.pipeline_id, one.display_name) == (pipeline.pipeline_id, name):
                raise Refused(_EXISTS, "Failed to create a pipeline version")
        new = kfp.V2beta1PipelineVersion(
            pipeline_id=pipeline.pipeline_id,
            display_name=name,
            description=query.get("description"),
            pipeline_spec=spec,
        )
        return self.own.add("versions", new, "pipeline_version_id")

    def _runnable(self, new: Any) -> Any:
        self._get("experiments", new.experiment_id)
        self._get("versions", new.pipeline_version_reference.pipeline_version_id)
        new.service_account = new.service_account or "pipeline-runner"
        return new

    def _recurring(self, new: Any) -> Any:
        if not 1 <= int(new.max_concurrency) <= 10:
            raise Refused(_INVALID, "max_concurrency must be between 1 and 10")
        return self.own.add("recurringruns", self._runnable(new), "recurring_run_id")

    def _all(self, kind: str) -> Iterator[Any]:
        return iter(self.own.stored[kind].values())
