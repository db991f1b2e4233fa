"""Names of the HTTP headers between clients, router, transformer and predictor."""

USER_HEADER = "X-User-Id"  # whom the answer is for; the split keeps each user with a revision
REVISION_HEADER = "X-Shopflow-Revision"  # asked for in a request, named in an answer
MODEL_HEADER = "X-Shopflow-Model"  # name/version/sha256 of the model that answered
