"""The container images the steps run in.

Only defaults: `compile.py` puts the registry and the tag it was given in their place. KFP's cache
key holds an image's name and not its contents, so a moving tag would make stale results look
fresh.
"""

# The word "python" stands in the names because KFP's local runner warns about an image without it.
PIPELINE_IMAGE = "shopflow-pipeline-python:dev"
TRAIN_IMAGE = "shopflow-train-python:dev"
