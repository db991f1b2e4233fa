"""The reason a revision does not become ready, from statuses as KServe and kubelets write them."""

from serving.platform.failure import (
    false_conditions,
    model_failure,
    pod_failure,
    spec_failure,
)

FAILED = {
    "modelStatus": {
        "transitionStatus": "BlockedByFailedLoad",
        "states": {"activeModelState": "", "targetModelState": "FailedToLoad"},
        "copies": {"failedCopies": 0, "totalCopies": 0},
        "lastFailureInfo": {
            "exitCode": 78,
            "message": "error: manifest.json: found no file\n",
            "reason": "ModelLoadFailed",
        },
    }
}


def pod(name="shop-0", **container):
    status = {"containerStatuses": [{"name": "kserve-container", **container}]}
    return {"metadata": {"name": name}, "status": status}


def test_model_s_failure_is_reason_message_and_exit_code():
    assert model_failure(FAILED) == (
        "ModelLoadFailed: error: manifest.json: found no file: exit code 78"
    )


def test_failure_that_is_over_is_none():
    """KServe leaves lastFailureInfo there after the model was loaded."""
    over = {"modelStatus": FAILED["modelStatus"] | {"transitionStatus": "UpToDate"}}
    assert model_failure(over) == ""
    assert model_failure({"modelStatus": {"transitionStatus": "InProgress"}}) == ""
    assert model_failure({}) == ""


def test_spec_without_a_runtime_is_a_failure_without_pods():
    info = {"reason": "NoSupportingRuntime", "message": "No runtime found"}
    status = {"modelStatus": {"transitionStatus": "InvalidSpec", "lastFailureInfo": info}}
    assert model_failure(status) == "NoSupportingRuntime: No runtime found"
    assert model_failure({"modelStatus": {"transitionStatus": "InvalidSpec"}}) == "InvalidSpec"


def test_a_model_that_did_not_load_says_nothing_of_a_revision_that_is_yet_to_be_made():
    assert spec_failure(FAILED) == ""
    assert spec_failure({"modelStatus": {"transitionStatus": "InvalidSpec"}}) == "InvalidSpec"


def test_image_that_cannot_be_pulled_is_told_with_the_pod():
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "p:1"'}
    found = pod_failure([pod(state={"waiting": waiting})])
    assert found == ('pod shop-0: kserve-container: ImagePullBackOff: Back-off pulling image "p:1"')


def test_crash_loop_is_told_with_the_last_words():
    ended = {"exitCode": 1, "reason": "Error", "message": "no GPU"}
    waiting = {"reason": "CrashLoopBackOff"}
    crashing = pod(state={"waiting": waiting}, lastState={"terminated": ended})
    assert pod_failure([crashing]).endswith("CrashLoopBackOff: exit code 1: no GPU")
    init = {
        "metadata": {"name": "shop-0"},
        "status": {
            "initContainerStatuses": [
                {"name": "storage-initializer", "state": {"terminated": ended}}
            ]
        },
    }
    assert pod_failure([init]) == ("pod shop-0: storage-initializer: Error: exit code 1: no GPU")


def test_pods_that_may_still_come_are_no_failure():
    starting = pod(state={"waiting": {"reason": "ContainerCreating"}})
    running = pod(state={"running": {}}, lastState={"terminated": {"exitCode": 1}})
    done = pod(state={"terminated": {"exitCode": 0, "reason": "Completed"}})
    assert pod_failure([starting, running, done, {"metadata": {"name": "new"}}]) == ""


def test_conditions_that_are_not_true_are_listed_with_their_words():
    conditions = [
        {"type": "PredictorReady", "status": "False", "reason": "MinimumReplicasUnavailable"},
        {"type": "IngressReady", "status": "Unknown"},
        {"type": "Stopped", "status": "False"},
        {"type": "Ready", "status": "True"},
    ]
    assert false_conditions(conditions, "PredictorReady", "IngressReady") == (
        "PredictorReady is False (MinimumReplicasUnavailable), IngressReady is Unknown"
    )
